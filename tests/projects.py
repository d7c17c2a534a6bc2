"""Projects of their own, where tests run tasks as a user does: as processes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import conninfo

from headwater.model import Target
from headwater.postgres.psql import url_of
from tests.support import write_files
from tests.warm import shared

ROOT = Path(__file__).parent.parent

CONFIGURATION = """\
[tool.headwater]
schemas = ["app"]
lock_timeout = "500ms"
wait_lock = "20s"
"""

# What would lead a task to another database, or change how it writes.
_HIDDEN = ("DATABASE_URL", "TEST_DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Give the one JSON object on stdout; anything else there is a failure."""
        form = json.loads(self.out)
        assert isinstance(form, dict)
        return form

    def said(self, *texts: str) -> Ended:
        """Require texts in what it wrote, on either stream."""
        for text in texts:
            assert text in self.out + self.err, f"{text!r} is not in:\n{self.out}{self.err}"
        return self


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with tasks.py, settings and migrations; `url` names its database, if it has one."""

    root: Path
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    """A password that no task but db.url may ever write."""

    @property
    def migrations(self) -> Path:
        """Give the folder of migrations."""
        return self.root / "migrations"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files (path below the project -> text)."""
        write_files(self.root, dict(files))

    def invoke(self, command: str, *, code: int = 0, **environment: str) -> Ended:
        """Run `invoke COMMAND` in a process of its own, and require its exit code.

        It is forked from one that has loaded everything, where that has nothing else to do and
        stands for any: not when its environment says how Python is to start. (It has that one's
        umask, and its seed of hashes.)
        """
        if any(name.startswith(("PYTHON", "LC_", "LANG", "TZ")) for name in environment):
            return self.cold(command, code=code, **environment)
        warm = shared()
        if warm.turn.locked():
            return self.cold(command, code=code, **environment)
        ended = warm.run(self.root, shlex.split(command), self.environment() | environment)
        return self._require(Ended(*ended), command, code)

    def cold(self, command: str, *, code: int = 0, **environment: str) -> Ended:
        """Run `invoke COMMAND` as a shell does, from nothing."""
        return self.end(self.begin(command, **environment), command, code=code)

    def begin(self, command: str, **environment: str) -> subprocess.Popen[str]:
        """Start `invoke COMMAND` as a shell does, and go on."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *shlex.split(command)],
            cwd=self.root,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str], command: str, *, code: int) -> Ended:
        """Wait for a process; require its exit code, and that it wrote nothing it must not."""
        out, err = process.communicate(timeout=60)
        return self._require(Ended(process.returncode, out or "", err or ""), command, code)

    def _require(self, ended: Ended, command: str, code: int) -> Ended:
        assert ended.code == code, f"{command} ended with {ended.code}:\n{ended.out}{ended.err}"
        wrote = ended.out + ended.err
        assert "\x1b" not in wrote, "an escape code where there is no terminal"
        if self.secret and not command.startswith("db.url"):
            assert self.secret not in wrote, f"{command} wrote the password"
        return ended

    def environment(self) -> dict[str, str]:
        """Give the environment of its processes: nothing of ours that names a database."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _HIDDEN and not name.startswith(("PG", "HEADWATER_", "PYTEST_"))
        }
        named = {"DATABASE_URL": self.url} if self.url else {}
        return kept | {"PYTHONPATH": str(ROOT / "lib"), "TERM": "xterm"} | named


def make_project(
    root: Path, migrations: Mapping[str, str], target: Target | None = None
) -> Project:
    """Make a project of these migrations that works on a target, or on a private server."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tasks.py", root)
    project = Project(root, *_url_with_password(target)) if target else Project(root)
    project.write({"pyproject.toml": CONFIGURATION})
    project.write({f"migrations/{name}": text for name, text in migrations.items()})
    project.migrations.mkdir(exist_ok=True)
    return project


def copy_of_the_checkout(root: Path, target: Target | None = None) -> Project:
    """Copy what a clone would have for its tasks: the reference schema and its settings."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("tasks.py", "pyproject.toml", ".env.example"):
        with suppress(FileNotFoundError):
            shutil.copy(ROOT / name, root)
    for name in ("migrations", "seeds"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Project(root, *_url_with_password(target)) if target else Project(root)


def project_on(root: Path, target: Target) -> Project:
    """Give a folder that is a project already, to work on a target."""
    return Project(root, *_url_with_password(target))


def _url_with_password(target: Target) -> tuple[str, str]:
    """Give a target's URL and its password; a server that wants none is told one all the same."""
    password = str(conninfo.conninfo_to_dict(target.conninfo).get("password") or "")
    url = url_of(target)
    if password:
        return url, password
    secret = "canary-that-nobody-asked-for"
    return f"{url}{'&' if '?' in url else '?'}password={secret}", secret
