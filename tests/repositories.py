"""Repositories of git in temporary folders: an origin, and clones of it with migrations."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support import write_files

# Nothing of who runs the tests, and a name for commits.
ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def clean_environment() -> dict[str, str]:
    """Give an environment that names no repository: tests may run inside a hook."""
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | ENVIRONMENT


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree; its migrations are in `migrations/`."""

    root: Path

    @property
    def migrations(self) -> Path:
        return self.root / "migrations"

    def git(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run git here; require its exit code, and give what it wrote."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=clean_environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, f"git {' '.join(arguments)}: {done.returncode}\n{said}"
        return said

    def write(self, **migrations: str) -> None:
        """Write migrations by version, with an underscore before: `_20260301_a="select 1;"`."""
        write_files(self.migrations, {f"{v[1:]}.sql": text for v, text in migrations.items()})

    def commit(self, message: str = "more") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def remove(self, version: str) -> None:
        (self.migrations / f"{version}.sql").unlink()


def made(root: Path) -> Repository:
    """Make an empty repository on a branch main."""
    root.mkdir(parents=True, exist_ok=True)
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch", "main")
    return repository


def cloned(origin: Repository, root: Path, *options: str) -> Repository:
    """Clone a repository, with the transport that knows of depths."""
    origin.git("clone", "--quiet", *options, f"file://{origin.root}", str(root))
    return Repository(root)
