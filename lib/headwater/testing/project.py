"""The project whose migrations the tests are about: its folder, settings and files, read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from headwater.errors import SettingsError
from headwater.files.read import read_sound_folder
from headwater.files.seeds import read_seeds
from headwater.model import MigrationFolder, SeedFolder
from headwater.settings import Settings, load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a test database holds: nothing, or what these migrations build, and the seeds."""

    versions: tuple[str, ...] = ()
    seeded: bool = False


NOTHING = Contents()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A folder of migrations with its settings, and the seeds beside it."""

    settings: Settings = field(repr=False)
    folder: MigrationFolder = field(repr=False)
    seeds: SeedFolder = field(repr=False)
    """What is wrong with them is told to whoever asks for them."""

    @property
    def versions(self) -> tuple[str, ...]:
        """Give every version, in the order of names."""
        return tuple(migration.version for migration in self.folder.migrations)

    def contents(
        self,
        *,
        at: str | None = None,
        before: bool = False,
        seeded: bool = False,
        empty: bool = False,
    ) -> Contents:
        """Say what a test database is to hold: everything, what a version builds, or nothing.

        `at` is the last version, with `before` the first that is missing. Raises SettingsError for
        a version that has no file, and for wishes that contradict each other.
        """
        if empty and (at is not None or before or seeded):
            raise SettingsError("an empty database has no version, and no seeds")
        if before and at is None:
            raise SettingsError("before which version? give at=, too")
        if empty:
            return NOTHING
        versions = self.versions if at is None else self._versions_to(at, before=before)
        return Contents(versions=versions, seeded=seeded)

    def _versions_to(self, version: str, *, before: bool) -> tuple[str, ...]:
        if version not in self.versions:
            raise SettingsError(
                f"there is no migration {version!r}",
                detail="known: " + (", ".join(self.versions[-5:]) or "none"),
                hint="name a file of the folder of migrations, without .sql",
            )
        return self.versions[: self.versions.index(version) + (not before)]


def read_project(root: Path) -> Project:
    """Read the settings, the migrations and the seeds of a project.

    Raises SettingsError or FilesError, with everything that is wrong.
    """
    return project_with(load_settings(root))


def project_with(settings: Settings) -> Project:
    """Read the migrations and the seeds that settings name. Raises FilesError."""
    return Project(
        settings=settings,
        folder=read_sound_folder(settings.migrations),
        seeds=read_seeds(settings),
    )


def find_project(start: Path) -> Path:
    """Give the nearest folder, `start` or above it, that Headwater is set up in.

    It has a `headwater.toml`, a `pyproject.toml` with `[tool.headwater]`, or a `tasks.py` beside a
    folder `migrations`. Raises SettingsError when there is none.
    """
    for folder in (start, *start.parents):
        if _is_project(folder):
            return folder
    raise SettingsError(
        f"no project of Headwater at {start}, nor above it",
        detail="a project has tasks.py beside migrations/, [tool.headwater] in pyproject.toml, "
        "or headwater.toml",
        hint="for pytest, name its folder: headwater_root in pyproject.toml or pytest.ini",
    )


def _is_project(folder: Path) -> bool:
    if (folder / "headwater.toml").is_file() or _is_configured(folder / "pyproject.toml"):
        return True
    return (folder / "tasks.py").is_file() and (folder / "migrations").is_dir()


def _is_configured(pyproject: Path) -> bool:
    try:
        text = pyproject.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    try:
        return "headwater" in tomllib.loads(text)["tool"]
    except tomllib.TOMLDecodeError:
        return "[tool.headwater]" in text  # whoever reads the settings tells what is wrong
    except (KeyError, TypeError):
        return False
