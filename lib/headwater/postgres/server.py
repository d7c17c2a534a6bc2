"""The private server: one PostgreSQL for each checkout and user, with nothing to install.

It is started when first needed, left running, and found again by the next command. Its folder
lies outside the checkout, named by a hash of the checkout's real path, so that two checkouts, or
a copied one, never meet:

    servers/HASH/server.json     0600: port, password, checkout; the only place of the password
    servers/HASH/lock            held while the server is started, stopped or destroyed
    servers/HASH/cluster-18/data/        0700: the data, of PostgreSQL 18
    servers/HASH/cluster-18/server.log   0600: what the server says

All of it belongs to us, but for root, whose server runs as `nobody`: data/ and server.log are
nobody's then, and every folder above is root's (0711), so that nobody cannot put a link where root
writes. Inside data/ root makes nothing and changes nothing; it reads and removes.

A cluster is made aside and renamed into place, so a first start that was killed leaves nothing
that counts. It listens on loopback only, has no socket, and knows one password, random, by
SCRAM: libpq is told to insist on it, so a stranger on our port is refused by us as well. Its data
are disposable: fsync is off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.errors import PrivateServerError, TargetError
from headwater.model import Notify, Said, Target, ignore
from headwater.postgres.installation import (
    Account,
    Installation,
    installation,
    server_account,
    state_folder,
)
from headwater.postgres.private_files import (
    file_lock,
    folder_mode,
    make_folder,
    new_file,
    opened_folder,
    remove,
)

SUPERUSER = "postgres"
DATABASE = "headwater"

START_TIMEOUT_S = 60
START_ATTEMPTS = 5

_PID_LIMIT = 2**31

# initdb writes them into the cluster's configuration. The data are disposable: speed before safety.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "512MB",
    "max_connections": "200",
    "max_locks_per_transaction": "256",
    "shared_buffers": "128MB",
    # The files are in the system's cache: handing each read to a process of its own (what 18 does
    # by itself) takes longer than reading, and whoever drops a database waits for all processes.
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # The password has 256 random bits; iterations protect guessable ones only.
    "scram_iterations": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach the running server."""

    port: int
    password: str = field(repr=False)

    def url(self, database: str = DATABASE) -> str:
        """Give the connection URL, with the password."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def target(self, database: str = DATABASE, source: str = "private server") -> Target:
        """Give one of its databases as a target."""
        return Target(
            host="127.0.0.1",
            port=str(self.port),
            database=database,
            user=SUPERUSER,
            source=source,
            conninfo=f"{self.url(database)}?require_auth=scram-sha-256&sslmode=disable",
            private=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateServer:
    """The place of one checkout's server, whether or not it runs."""

    checkout: Path
    folder: Path

    @property
    def access_file(self) -> Path:
        """Give the file that holds port and password."""
        return self.folder / "server.json"

    @property
    def lock_file(self) -> Path:
        """Give the file that is locked while the server changes its state."""
        return self.folder / "lock"

    @property
    def clusters(self) -> list[Path]:
        """Give the clusters that exist, of every major version, oldest first."""
        return sorted(self.folder.glob("cluster-[0-9][0-9]"))


def server_of(checkout: Path) -> PrivateServer:
    """Give the private server of a checkout (of this user)."""
    real = checkout.resolve()
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return PrivateServer(checkout=real, folder=state_folder() / "servers" / name)


def running(server: PrivateServer) -> Access | None:
    """Give the access when the server seems to run: a look at its files, no connection.

    A server that was killed leaves the same files behind; who then cannot connect calls `start`,
    which looks closely.
    """
    known = _read_access(server)
    if known is None:
        return None
    access, cluster = known
    postmaster = _read_pid_file(cluster)
    if postmaster is None or postmaster != (postmaster[0], access.port, True):
        return None
    return access if _alive(postmaster[0]) else None


def start(server: PrivateServer, notify: Notify = ignore) -> Access:
    """Start the server unless it runs, making its cluster first when there is none.

    In order: lock, programs, cluster, server, database. Killed anywhere, the next call goes on.
    Raises PrivateServerError with the end of the server's log.
    """
    with _failures_told():
        make_folder(server.folder.parent)
        make_folder(server.folder)
    with file_lock(server.lock_file), _failures_told():
        # Its files may be gone while it runs: whoever answers to our password is our server.
        known = _read_access(server)
        if known is not None and _answers(known[0]):
            return known[0]
        programs = installation(notify)
        account = server_account()
        cluster = server.folder / f"cluster-{programs.major}"
        if not cluster.exists():
            _tell_of_older(server, programs, notify)
            _make_cluster(server, programs, account, cluster)
        notify(Said(message=f"starting the private PostgreSQL {programs.version}"))
        return _start_cluster(server, programs, account, cluster)


def stop(server: PrivateServer) -> bool:
    """Stop the server; say whether there was one to stop."""
    if not server.folder.exists():
        return False
    with file_lock(server.lock_file), _failures_told():
        stopped = [_stop_cluster(cluster) for cluster in server.clusters]
        return any(stopped)


def destroy(server: PrivateServer) -> bool:
    """Stop the server and remove its folder with all data; say whether there was anything."""
    if not server.folder.exists():
        return False
    with file_lock(server.lock_file), _failures_told():
        for cluster in server.clusters:
            _stop_cluster(cluster)
        # The lock file last: while it is there, nobody else begins anew.
        for path in sorted(server.folder.iterdir(), key=lambda path: path == server.lock_file):
            remove(path)
        server.folder.rmdir()
    return True


# --- files ------------------------------------------------------------------------------------


@contextmanager
def _failures_told() -> Generator[None]:
    """Tell what the system refuses (a full disk, a folder in a file's place) as our own error."""
    try:
        yield
    except ConnectionError:  # of whoever reads our messages
        raise
    except OSError as error:
        raise PrivateServerError(
            "the private server's files cannot be used",
            detail=f"{error.filename}: {error.strerror}" if error.filename else str(error),
            hint="invoke db.destroy removes it with its (disposable) data; then try again",
        ) from error


def _read_access(server: PrivateServer) -> tuple[Access, Path] | None:
    try:
        known: dict[str, Any] = json.loads(server.access_file.read_text())
        access = Access(port=int(known["port"]), password=str(known["password"]))
        return access, server.folder / str(known["cluster"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_access(server: PrivateServer, access: Access, cluster: Path) -> None:
    """Write port and password aside, readable by us alone from the first byte, and rename."""
    new = server.access_file.with_suffix(".new")
    content = {
        "checkout": str(server.checkout),
        "cluster": cluster.name,
        "port": access.port,
        "password": access.password,
    }
    with open(new_file(new), "w", encoding="utf-8") as file:  # noqa: PTH123 - made with its mode
        json.dump(content, file, indent=2)
    new.rename(server.access_file)


def _read_pid_file(cluster: Path) -> tuple[int, int, bool] | None:
    """Read `postmaster.pid`: process, port, and whether the server has finished starting.

    Its lines are documented in src/include/utils/pidfile.h of PostgreSQL.
    """
    # The server's account owns the file: no link is followed, and no pipe is waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(cluster / "data/postmaster.pid", flags)) as file:  # noqa: PTH123
            lines = file.read(4096).splitlines()
        pid, port, ready = int(lines[0]), int(lines[3]), lines[7].strip() == "ready"
    except (OSError, ValueError, IndexError):
        return None
    return (pid, port, ready) if 0 < pid < _PID_LIMIT else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- cluster ----------------------------------------------------------------------------------


def _tell_of_older(server: PrivateServer, programs: Installation, notify: Notify) -> None:
    for old in server.clusters:
        notify(
            Said(
                message=f"the private server is now PostgreSQL {programs.major}; the data of the "
                f"older one stay in {old} until `invoke db.destroy`"
            )
        )


def _make_cluster(
    server: PrivateServer, programs: Installation, account: Account, cluster: Path
) -> None:
    """Make a cluster aside, with its password, and rename it into place."""
    for left_over in server.folder.glob("cluster-*.new"):
        shutil.rmtree(left_over, ignore_errors=True)
    # A name of its own: the initdb of a start that was killed may still write into another.
    work = Path(tempfile.mkdtemp(prefix=f"{cluster.name}-", suffix=".new", dir=server.folder))
    known = _read_access(server)
    # The data of an older major version stay, and keep their password.
    password = known[0].password if known else secrets.token_urlsafe(32)
    try:
        work.chmod(folder_mode())
        _make_data_folder(work / "data", account)
        _initdb(programs, account, work, password)
        _remove_maps(work / "data")
        # The password before the cluster: one without the other would lock us out.
        _write_access(server, Access(port=_free_port(), password=password), cluster)
        work.rename(cluster)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _make_data_folder(folder: Path, account: Account) -> None:
    """Make the folder of the data, empty: initdb, as the account, could not beside our files."""
    folder.mkdir(mode=0o700)
    with opened_folder(folder) as descriptor:
        os.fchmod(descriptor, 0o700)
        account.own(descriptor)


def _take_cluster(cluster: Path, account: Account) -> None:
    """As root, take a cluster's folder from nobody, who owned it in an earlier layout.

    From then on nobody can put no link in the place of `data` or the log; one that is there
    already is refused. (The log is made anew at every start.)
    """
    if not account.switch:
        return
    with opened_folder(cluster) as descriptor:
        os.fchown(descriptor, os.getuid(), os.getgid())
        os.fchmod(descriptor, folder_mode())
    data = (cluster / "data").lstat()
    if not stat.S_ISDIR(data.st_mode) or data.st_uid != account.uid:
        raise PrivateServerError(
            "the private server's data are not its own",
            detail=f"{cluster / 'data'} is no folder of the account that runs the server",
            hint="invoke db.destroy removes the private server with its data; then try again",
        )


def _initdb(programs: Installation, account: Account, work: Path, password: str) -> None:
    """Fill `data`; the password goes by a file that only the account can read, and is removed."""
    password_file = work / "password"
    with open(new_file(password_file), "w", encoding="ascii") as file:  # noqa: PTH123
        account.own(file.fileno())
        file.write(password)
    done = account.run(
        [
            programs.program("initdb"),
            f"--pgdata={work / 'data'}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
            "--encoding=UTF8",
            # One collation on every machine, from PostgreSQL itself.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ],
        environment=programs.environment,
    )
    password_file.unlink()
    if done.returncode:
        raise PrivateServerError(
            "the private server's data cannot be made", detail=_tail(done.stdout)
        )


def _remove_maps(data: Path) -> None:
    """Remove the maps of free space and of visibility that initdb leaves, while nobody runs.

    Each is a file beside its catalogue's, which every database that is made later gets a copy of:
    a quarter of the files of an empty one. A server that misses a map takes the pages as they are,
    and writes it anew when it first needs to.
    """
    for _, _, names, folder in os.fwalk(data / "base"):
        for name in names:
            if name.endswith(("_fsm", "_vm")):
                os.unlink(name, dir_fd=folder)


def _start_cluster(
    server: PrivateServer, programs: Installation, account: Account, cluster: Path
) -> Access:
    known = _read_access(server)
    if known is None or known[1] != cluster:
        raise PrivateServerError(
            "the password of the private server is lost",
            detail=f"{server.access_file} does not go with {cluster.name}",
            hint="invoke db.destroy removes the private server with its data; then try again",
        )
    _take_cluster(cluster, account)
    log = cluster / "server.log"
    for port in _ports(known[0].port):
        _remove_stale_pid_file(cluster)
        _make_log(log, account)
        access = Access(port=port, password=known[0].password)
        done = account.run(
            [
                programs.program("pg_ctl"),
                "start",
                "--wait",
                f"--timeout={START_TIMEOUT_S}",
                "--silent",
                f"--pgdata={cluster / 'data'}",
                f"--log={log}",
                f"--options=-p {port}",
            ],
            environment=programs.environment,
        )
        if done.returncode == 0 and _answers(access, create=True):
            _write_access(server, access, cluster)
            return access
        # A taken port, or the orphans of a killed server that still hold its memory.
        time.sleep(0.3)
    raise PrivateServerError(
        "the private server cannot be started",
        detail=_tail(_read(log)),
        hint="invoke db.destroy removes it with its (disposable) data; then try again",
    )


def _ports(last: int) -> Iterator[int]:
    """Give the port of last time while it is free, so that bookmarks go on working; then others."""
    for attempt in range(START_ATTEMPTS):
        yield last if attempt == 0 and _is_free(last) else _free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _remove_stale_pid_file(cluster: Path) -> None:
    """Remove the pid file of a dead server whose number another process has by now.

    PostgreSQL takes such a file for a live server and refuses to start.
    """
    postmaster = _read_pid_file(cluster)
    if postmaster and _alive(postmaster[0]) and str(cluster) not in _command_line(postmaster[0]):
        # Root removes a name in nobody's folder, whatever it stands for, and nothing else.
        (cluster / "data/postmaster.pid").unlink(missing_ok=True)


def _command_line(pid: int) -> str:
    """Give the command line of a process, or nothing when there is no such process."""
    return dict(_processes(pid)).get(pid, "")


def _processes(pid: int | None = None) -> Iterator[tuple[int, str]]:
    """List the account's processes (one, or all) with their command lines: /proc, or else ps.

    Only the account's: anybody may write our server's name into a command line.
    """
    owner = server_account().uid
    if Path("/proc/self/cmdline").exists():
        for path in Path("/proc").glob("[0-9]*" if pid is None else str(pid)):
            with contextlib.suppress(OSError):  # it ended meanwhile
                text = (path / "cmdline").read_text(errors="replace")
                if path.stat().st_uid == owner:
                    yield int(path.name), text.replace("\0", " ")
        return
    which = ["-A"] if pid is None else ["-p", str(pid)]
    form = ["-o", "pid=", "-o", "uid=", "-o", "command="]
    listed = subprocess.run(["ps", *which, *form], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        number, uid, command = line.split(maxsplit=2)
        if int(uid) == owner:
            yield int(number), command


def _process_of(cluster: Path) -> int | None:
    """Find the server of a cluster: by its pid file, or among the processes when that is gone."""
    postmaster = _read_pid_file(cluster)
    if postmaster is not None and str(cluster) in _command_line(postmaster[0]):
        return postmaster[0]
    started_with = f"bin/postgres -D {cluster / 'data'} "
    return next((pid for pid, command in _processes() if started_with in command), None)


def _stop_cluster(cluster: Path) -> bool:
    """Stop by signal, as `pg_ctl stop --mode=fast` does, and wait until the process is gone."""
    pid = _process_of(cluster)
    if pid is None:
        return False
    for sent in (signal.SIGINT, signal.SIGQUIT):
        os.kill(pid, sent)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if str(cluster) not in _command_line(pid):
                return True
            time.sleep(0.02)
    raise PrivateServerError("the private server does not stop", detail=f"process {pid}")


def _answers(access: Access, *, create: bool = False) -> bool:
    """Connect, and make the default database when it is not there yet (and `create`)."""
    from headwater.postgres.connect import connect
    from headwater.postgres.databases import create_database, exists

    try:
        with connect(access.target("postgres"), purpose="start") as connection:
            if create and not exists(connection, DATABASE):
                # Its mark must outlive a server that is killed a moment later.
                connection.execute("SET synchronous_commit = on")
                create_database(connection, DATABASE)
    except TargetError:
        return False
    return True


def _make_log(log: Path, account: Account) -> None:
    """Make the log anew, empty, in our folder; pg_ctl opens it as the account."""
    descriptor = new_file(log)
    try:
        account.own(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _tail(text: str, lines: int = 6) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
