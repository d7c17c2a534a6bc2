"""The private server: found again, private, and back after everything that can happen to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headwater.errors import PrivateServerError, Unreachable
from headwater.model import Event, Said
from headwater.postgres import installation, server
from headwater.postgres.connect import connect
from headwater.postgres.server import Access, PrivateServer
from headwater.postgres.target import private_target
from headwater.settings import Settings
from tests.support import until

Place = PrivateServer


@pytest.fixture(scope="module")
def programs() -> Path:
    """The programs of PostgreSQL, unpacked once for this user."""
    return installation.installation().folder


@pytest.fixture(scope="module")
def state(programs: Path) -> Generator[Path]:
    """A state folder of this module's own, with the programs that are unpacked already."""
    # Not pytest's tmp_path: the server of root runs as nobody, who may not pass through that.
    folder = Path(tempfile.mkdtemp(prefix="headwater-test-"))
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        installation.state_folder.cache_clear()
        (folder / "headwater").mkdir(mode=0o711)
        (folder / "headwater" / programs.name).symlink_to(programs)
        yield folder
        for place in (folder / "headwater/servers").glob("*"):
            server.destroy(PrivateServer(checkout=place, folder=place))
    installation.state_folder.cache_clear()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The server of one checkout; tests may stop and kill it, and leave its folder whole."""
    place = server.server_of(tmp_path_factory.mktemp("checkout"))
    server.start(place)
    return place


@pytest.fixture(scope="module")
def second(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The server of another checkout."""
    place = server.server_of(tmp_path_factory.mktemp("second"))
    server.start(place)
    return place


@pytest.fixture
def own(state: Path, tmp_path: Path) -> Generator[Place]:
    """The place of a checkout that has no server yet."""
    place = server.server_of(tmp_path)
    yield place
    server.destroy(place)


def one(access: Access, statement: str) -> object:
    with connect(access.target(), purpose="test") as connection:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


def assert_answers(access: Access) -> None:
    assert one(access, "select 1") == 1


def postmaster(place: Place) -> int:
    return int((data_of(place) / "postmaster.pid").read_text().split()[0])


def data_of(place: Place) -> Path:
    [cluster] = place.clusters
    return cluster / "data"


def said_while_starting(place: Place) -> str:
    said: list[Event] = []
    assert_answers(server.start(place, said.append))
    return "\n".join(event.message for event in said if isinstance(event, Said))


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def kill(place: Place) -> int:
    """Kill the server as the kernel would, with SIGKILL."""
    pid = postmaster(place)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid))
    return pid


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not yet buried does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# --- found again ------------------------------------------------------------------------------


def test_it_is_started_when_first_needed_and_found_again(own: Place) -> None:
    assert server.running(own) is None
    access = server.start(own)
    assert_answers(access)
    pid = postmaster(own)
    assert server.running(own) == access
    assert server.start(own) == access
    assert postmaster(own) == pid


def test_two_checkouts_do_not_meet(shared: Place, second: Place) -> None:
    mine, theirs = server.start(second), server.start(shared)
    assert second.folder != shared.folder
    assert mine.port != theirs.port
    assert mine.password != theirs.password
    with connect(mine.target(), purpose="test") as connection:
        connection.execute("create table only_mine ()")
    assert one(theirs, "select to_regclass('only_mine') is null")


def test_a_link_to_a_checkout_is_the_checkout(state: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert server.server_of(tmp_path / "link") == server.server_of(tmp_path / "real")


def test_several_first_commands_at_once_make_one_server(own: Place) -> None:
    found: list[Access] = []
    threads = [threading.Thread(target=lambda: found.append(server.start(own))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1


def test_its_databases_are_disposable_and_have_the_extensions(shared: Place) -> None:
    access = server.start(shared)
    assert one(access, "select shobj_description(oid, 'pg_database') from pg_database "
               "where datname = current_database()") == "headwater: disposable"  # fmt: skip
    assert one(
        access,
        "select count(*) from pg_available_extensions "
        "where name in ('vector', 'pgcrypto', 'pg_trgm')",
    ) == 3  # fmt: skip
    assert one(access, "show fsync") == "off"


def test_databases_are_made_of_no_more_files_than_needed(own: Place) -> None:
    """The maps that initdb writes are left out; the server makes those that it comes to need."""
    access = server.start(own)
    databases = [*(data_of(own) / "base").iterdir()]
    names = [path.name for folder in databases for path in folder.iterdir()]
    maps = [name for name in names if name.endswith(("_fsm", "_vm"))]
    assert len(databases) >= 4
    assert len(maps) < 37, "initdb leaves 37 of each kind for each database"
    with connect(access.target(), purpose="test") as connection:
        connection.execute("create table t as select n from generate_series(1, 10000) as n")
        connection.execute("vacuum")
        [(path,)] = connection.execute("select pg_relation_filepath('t')").fetchall()
    assert sorted(data_of(own).glob(f"{path}_*")) == [
        data_of(own) / f"{path}_fsm",
        data_of(own) / f"{path}_vm",
    ]


# --- stopped, killed, half made ---------------------------------------------------------------


def test_it_stops_and_starts_on_the_same_port_with_its_data(shared: Place) -> None:
    access = server.start(shared)
    with connect(access.target(), purpose="test") as connection:
        connection.execute("create table if not exists kept ()")
    assert server.stop(shared)
    assert server.running(shared) is None
    assert not server.stop(shared)
    again = server.start(shared)
    assert again == access
    assert one(again, "select to_regclass('kept') is not null")


def test_after_a_kill_the_next_command_just_works(shared: Place) -> None:
    server.start(shared)
    pid = kill(shared)
    assert (data_of(shared) / "postmaster.pid").exists()
    assert "starting the private PostgreSQL" in said_while_starting(shared)
    assert postmaster(shared) != pid


def test_the_target_has_a_running_server_also_after_a_kill(state: Path, tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, migrations=tmp_path)
    place = server.server_of(tmp_path)
    try:
        target = private_target(settings)
        with connect(target, purpose="test") as connection:
            assert connection.info.dbname == target.database == "headwater"
        assert private_target(settings) == target
        kill(place)
        # Its number may belong to somebody else by now, who looks alive.
        pretend_to_be(place, os.getpid())
        with connect(private_target(settings), purpose="test") as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        server.destroy(place)


def test_a_kill_right_after_the_first_start_loses_no_mark(own: Place) -> None:
    """Commits are asynchronous there; CREATE DATABASE is not, and the comment behind it was."""
    server.start(own)
    kill(own)
    access = server.start(own)
    marked = "select shobj_description(oid, 'pg_database') from pg_database where datname = "
    assert one(access, marked + "current_database()") == "headwater: disposable"


def pretend_to_be(place: Place, pid: int) -> None:
    file = data_of(place) / "postmaster.pid"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([str(pid), *lines[1:]]) + "\n")


def test_a_stale_pid_file_with_somebody_elses_process_does_no_harm(shared: Place) -> None:
    server.start(shared)
    kept = (data_of(shared) / "postmaster.pid").read_text()
    kill(shared)
    # Of the account that runs the server: PostgreSQL takes nobody else for itself.
    account = installation.server_account()
    stranger = subprocess.Popen(["sleep", "60"], user=account.uid if account.switch else None)
    try:
        pretend_to_be(shared, stranger.pid)
        assert_answers(server.start(shared))
        assert stranger.poll() is None
        assert server.stop(shared)
        pretend = data_of(shared) / "postmaster.pid"
        pretend.write_text(kept)
        pretend_to_be(shared, stranger.pid)
        assert not server.stop(shared)
        assert stranger.poll() is None
        pretend.unlink()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_taken_port_means_another_one(shared: Place) -> None:
    access = server.start(shared)
    server.stop(shared)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", access.port))
        taken.listen()
        other = server.start(shared)
        assert other.port != access.port
        assert_answers(other)
    assert server.running(shared) == other


def test_an_unrelated_server_on_the_recorded_port_is_not_mistaken_for_ours(
    shared: Place, second: Place
) -> None:
    """A stranger who lets everybody in gets neither our password nor our migrations."""
    stranger = server.start(second)
    rules = data_of(second) / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("host all all 127.0.0.1/32 trust\n")
    one(stranger, "select pg_reload_conf()")
    until(lambda: lets_everybody_in(stranger.port))

    access = server.start(shared)
    server.stop(shared)
    content = json.loads(shared.access_file.read_text())
    shared.access_file.write_text(json.dumps(content | {"port": stranger.port}))
    with pytest.raises(Unreachable):
        one(Access(port=stranger.port, password=access.password), "select 1")
    assert server.running(shared) is None
    again = server.start(shared)
    assert again.port != stranger.port
    assert_answers(again)
    rules.write_text(before)
    server.stop(second)


def lets_everybody_in(port: int) -> bool:
    try:
        psycopg.connect(
            f"host=127.0.0.1 port={port} user=postgres password=x dbname=postgres"
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_server_without_its_pid_file_is_found_again_and_can_be_stopped(own: Place) -> None:
    """Somebody has deleted the file; PostgreSQL itself notices only within a minute."""
    access = server.start(own)
    pid = postmaster(own)
    (data_of(own) / "postmaster.pid").unlink()
    assert server.start(own) == access
    assert_answers(access)
    assert server.stop(own)
    until(lambda: not is_alive(pid))


def test_a_first_start_that_still_writes_does_not_hold_up_the_next(own: Place) -> None:
    """The initdb of a start that was killed is an orphan, and goes on making files."""
    own.folder.mkdir(parents=True)
    major = installation.installation().major
    left_over = own.folder / f"cluster-{major}.new"
    left_over.mkdir()
    writing = threading.Event()

    def write_on() -> None:
        while not writing.is_set():
            with contextlib.suppress(OSError):
                left_over.mkdir(exist_ok=True)
                (left_over / "file").touch()

    orphan = threading.Thread(target=write_on)
    orphan.start()
    try:
        assert_answers(server.start(own))
    finally:
        writing.set()
        orphan.join()


def test_a_half_finished_first_start_counts_for_nothing(own: Place) -> None:
    left_over = own.folder / f"cluster-{installation.installation().major}.new"
    (left_over / "data").mkdir(parents=True)
    (left_over / "data/PG_VERSION").write_text("18\n")
    (left_over / "password").write_text("half written")
    assert_answers(server.start(own))
    assert not left_over.exists()


def test_a_first_start_that_fails_leaves_nothing_and_says_why(
    own: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SUPERUSER", "pg_not_allowed")
    with pytest.raises(PrivateServerError) as caught:
        server.start(own)
    assert "pg_not_allowed" in caught.value.detail
    assert own.clusters == []
    assert list(own.folder.glob("*.new")) == []
    monkeypatch.undo()
    assert_answers(server.start(own))


def test_a_server_that_cannot_start_says_what_its_log_says(
    shared: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start(shared)
    server.stop(shared)
    configuration = data_of(shared) / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text(before + "no_such_setting = 1\n")
    monkeypatch.setattr(server, "START_ATTEMPTS", 1)
    with pytest.raises(PrivateServerError) as caught:
        server.start(shared)
    assert "no_such_setting" in caught.value.detail
    assert "invoke db.destroy" in caught.value.hint
    assert caught.value.exit_code == 2
    configuration.write_text(before)
    assert_answers(server.start(shared))


def test_a_lost_password_is_told_with_the_way_out(shared: Place, tmp_path: Path) -> None:
    server.start(shared)
    server.stop(shared)
    kept = shared.access_file.rename(shared.folder / "kept.json")
    with pytest.raises(
        PrivateServerError, match="password of the private server is lost"
    ) as caught:
        server.start(shared)
    assert "invoke db.destroy" in caught.value.hint
    kept.rename(shared.access_file)
    assert_answers(server.start(shared))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"port": "x"}', "null"])
def test_a_broken_access_file_is_no_crash(own: Place, content: str) -> None:
    own.folder.mkdir(parents=True)
    own.access_file.write_text(content)
    assert server.running(own) is None


# --- the password -----------------------------------------------------------------------------


def test_the_password_stands_in_one_file_that_we_alone_may_read(shared: Place) -> None:
    password = server.start(shared).password.encode()
    assert stat.S_IMODE(shared.access_file.stat().st_mode) == 0o600
    assert shared.access_file.stat().st_uid == os.getuid()
    holders = [
        path
        for path in shared.folder.parent.parent.rglob("*")
        if path.is_file() and not path.is_symlink() and password in path.read_bytes()
    ]
    assert holders == [shared.access_file]
    assert password not in all_command_lines()


def all_command_lines() -> bytes:
    """Give the command line and the environment of every process that can be read, but ours."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ") if process.name != str(os.getpid()) else ():
            try:
                found.append((process / name).read_bytes())
            except OSError:
                continue
    return b"\n".join(found)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_the_password_is_in_no_command_line_while_it_first_starts(own: Place) -> None:
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(all_command_lines())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        access = server.start(own)
    finally:
        done.set()
        watcher.join()
    everything = b"\n".join(seen)
    assert b"initdb" in everything
    assert access.password.encode() not in everything


def test_the_password_is_shown_by_no_value(shared: Place) -> None:
    access = server.start(shared)
    for shown in (repr(access), str(access.target()), repr(access.target()), repr(shared)):
        assert access.password not in shown


def test_it_is_random_and_long(shared: Place) -> None:
    assert len(server.start(shared).password) >= 43  # 256 bits in base64


@pytest.mark.parametrize("password", ["", "wrong", "postgres"])
def test_a_wrong_password_is_refused(shared: Place, password: str) -> None:
    port = server.start(shared).port
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            f"host=127.0.0.1 port={port} user=postgres dbname=postgres "
            f"password='{password}' passfile=/dev/null"
        )


def test_it_listens_on_loopback_only_and_has_no_socket(shared: Place) -> None:
    access = server.start(shared)
    assert one(access, "show listen_addresses") == "127.0.0.1"
    assert one(access, "show unix_socket_directories") == ""
    assert listening(access.port) == {"0100007F"}


def listening(port: int) -> set[str]:
    """Give the addresses that somebody listens on, as /proc/net writes them: backwards."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def test_its_folders_are_closed_to_others(shared: Place) -> None:
    server.start(shared)
    [cluster] = shared.clusters
    for folder in (cluster, shared.folder, shared.folder.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == (0o711 if os.getuid() == 0 else 0o700)
        assert folder.stat().st_uid == os.getuid()
    assert stat.S_IMODE((cluster / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((cluster / "server.log").stat().st_mode) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_its_files_depend_on_no_umask(own: Place, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert_answers(server.start(own))
    finally:
        os.umask(before)
    test_its_folders_are_closed_to_others(own)
    assert stat.S_IMODE(own.access_file.stat().st_mode) == 0o600


def test_it_lets_nobody_in_without_the_password(shared: Place) -> None:
    server.start(shared)
    lines = (data_of(shared) / "pg_hba.conf").read_text().splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root's server runs as somebody else")
def test_as_root_it_runs_as_nobody(shared: Place) -> None:
    server.start(shared)
    status = Path(f"/proc/{postmaster(shared)}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(installation.server_account().uid)}
    assert "0" not in uids


# --- links, and other traps of the account that runs it ---------------------------------------

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root's server runs as somebody else")


@pytest.fixture
def precious(tmp_path: Path) -> Generator[Path]:
    """A file of root's that must stay as it is."""
    path = tmp_path / "precious"
    path.write_text("mine")
    path.chmod(0o600)
    yield path
    assert path.read_text() == "mine"
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (os.getuid(), 0o600)


def as_it_was_earlier(place: Place) -> Path:
    """Stop the server, and give its cluster's folder to the account, as an earlier layout did."""
    server.start(place)
    server.stop(place)
    [cluster] = place.clusters
    account = installation.server_account()
    os.chown(cluster, account.uid, account.gid)
    cluster.chmod(0o700)
    return cluster


@as_root
def test_nobody_can_put_nothing_in_the_place_of_the_log(own: Place) -> None:
    server.start(own)
    [cluster] = own.clusters
    account = installation.server_account()
    done = account.run(
        ["/bin/sh", "-c", f"rm -f {cluster}/server.log || ln -sf /etc/x {cluster}/server.log"],
        environment={},
    )
    assert done.returncode
    assert (cluster / "server.log").stat().st_uid == account.uid
    assert (cluster / "data").stat().st_uid == account.uid


@as_root
def test_a_server_of_the_earlier_layout_starts_and_its_folder_is_taken(
    own: Place, precious: Path
) -> None:
    access = server.start(own)
    with connect(access.target(), purpose="test") as connection:
        connection.execute("create table kept ()")
    cluster = as_it_was_earlier(own)
    (cluster / "server.log").unlink()
    (cluster / "server.log").symlink_to(precious)
    again = server.start(own)
    assert one(again, "select to_regclass('kept') is not null")
    test_its_folders_are_closed_to_others(own)
    assert not (cluster / "server.log").is_symlink()


@as_root
@pytest.mark.parametrize("kind", ["link", "root's"])
def test_data_that_are_not_the_accounts_are_refused(own: Place, tmp_path: Path, kind: str) -> None:
    cluster = as_it_was_earlier(own)
    data = (cluster / "data").rename(cluster / "kept")
    if kind == "link":
        (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
        (cluster / "data").symlink_to(tmp_path)
    else:
        (cluster / "data").mkdir()
    with pytest.raises(PrivateServerError, match="data are not its own") as caught:
        server.start(own)
    assert "db.destroy" in caught.value.hint
    assert data.exists()
    assert server.destroy(own)
    assert tmp_path.exists()


def test_root_writes_nothing_where_initdb_has_been(
    own: Place, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account may exchange every file in the folder that initdb made."""
    real = server._initdb

    def and_then_exchange(*arguments: Any) -> None:
        real(*arguments)
        configuration = arguments[2] / "data/postgresql.conf"
        text = configuration.read_text()
        assert "fsync = off" in text
        configuration.unlink()
        configuration.symlink_to(precious)

    monkeypatch.setattr(server, "_initdb", and_then_exchange)
    monkeypatch.setattr(server, "START_ATTEMPTS", 1)
    with pytest.raises(PrivateServerError):
        server.start(own)


@pytest.mark.parametrize("name", ["server.log", "server.new"])
def test_a_folder_in_a_files_place_does_no_harm(own: Place, name: str) -> None:
    server.start(own)
    server.stop(own)
    [cluster] = own.clusters
    path = (cluster if name == "server.log" else own.folder) / name
    path.unlink(missing_ok=True)
    (path / "inner").mkdir(parents=True)
    assert_answers(server.start(own))


def test_a_folder_in_the_place_of_the_access_file_is_told(own: Place) -> None:
    (own.access_file / "inner").mkdir(parents=True)
    with pytest.raises(PrivateServerError, match="files cannot be used") as caught:
        server.start(own)
    assert "db.destroy" in caught.value.hint
    assert server.destroy(own)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "huge", "negative"])
def test_a_strange_pid_file_holds_nobody_up(own: Place, tmp_path: Path, kind: str) -> None:
    server.start(own)
    kept = (data_of(own) / "postmaster.pid").read_text().splitlines()
    server.stop(own)
    path = data_of(own) / "postmaster.pid"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "pid").write_text("\n".join([str(os.getpid()), *kept[1:]]))
        path.symlink_to(tmp_path / "pid")
    elif kind == "folder":
        path.mkdir()
    else:
        number = "-1" if kind == "negative" else str(10**30)
        path.write_text("\n".join([number, *kept[1:]]))
    assert server.running(own) is None
    assert not server.stop(own)


@as_root
def test_root_stops_no_process_that_only_bears_the_servers_name(own: Place) -> None:
    server.start(own)
    server.stop(own)
    named = f"bin/postgres -D {data_of(own)} -p 1"
    stranger = subprocess.Popen(["sh", "-c", "sleep 60; true", named])
    try:
        command_line = Path(f"/proc/{stranger.pid}/cmdline")
        until(lambda: named in command_line.read_text())
        assert not server.stop(own)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# --- versions, the end ------------------------------------------------------------------------


def test_data_of_an_older_version_are_kept_and_named(own: Place) -> None:
    older = own.folder / "cluster-17"
    (older / "data").mkdir(parents=True)
    (older / "data/precious").write_text("rows")
    assert f"the data of the older one stay in {older}" in said_while_starting(own)
    assert (older / "data/precious").read_text() == "rows"
    server.stop(own)
    assert_answers(server.start(own))


def test_destroy_stops_it_and_removes_everything_of_this_checkout(
    own: Place, shared: Place
) -> None:
    server.start(own)
    others = server.start(shared)
    pid = postmaster(own)
    assert server.destroy(own)
    assert not own.folder.exists()
    assert not is_running(pid)
    assert not server.destroy(own)
    assert_answers(others)


# --- where it lives ---------------------------------------------------------------------------


@pytest.fixture
def fresh_choice() -> Generator[None]:
    installation.state_folder.cache_clear()
    yield
    installation.state_folder.cache_clear()


@pytest.mark.skipif(os.getuid() != 0, reason="root's choice")
def test_root_does_not_use_a_folder_that_nobody_may_not_pass(
    fresh_choice: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert installation.state_folder() == Path("/var/lib/headwater")


@pytest.mark.skipif(os.getuid() == 0, reason="an ordinary user's choice")
@pytest.mark.parametrize("data", ["", "relative"])
def test_a_user_has_it_below_the_home_folder(
    fresh_choice: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", data)
    assert installation.state_folder() == tmp_path / ".local/share/headwater"


def test_a_half_unpacked_postgresql_is_never_used(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pg0 that unpacks nothing leaves nothing, and says what it said."""
    folder = state / "headwater" / "postgres-0"
    broken = state / "pg0"
    broken.write_text(
        '#!/bin/sh\nmkdir -p "$HOME/.pg0/installation/18/bin"\necho no glibc\nexit 1\n'
    )
    broken.chmod(0o755)
    with pytest.raises(PrivateServerError, match="does not run on this system") as caught:
        installation._unpack(broken, folder)
    assert "no glibc" in caught.value.detail
    assert not folder.exists()
    assert list(folder.parent.glob("unpack-*")) == []
