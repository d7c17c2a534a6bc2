"""Targets that cannot be worked on: each is told in one clear sentence, before anything runs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.checks.proof import verify
from headwater.errors import HeadwaterError, TargetError, Unreachable
from headwater.model import Event, MigrationFolder, Said, State, Target
from headwater.postgres import connect as connecting
from headwater.postgres.connect import target_of, with_database
from headwater.postgres.databases import MARK
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, status
from headwater.report.forms import status_json, status_lines
from headwater.settings import DatabaseChoice, Settings
from headwater.verdicts import Outcome
from tests.clusters import Cluster, certificate, cluster, standby
from tests.support import folder_with, query, recorded, tables, until, value

FILES = {"0001_init.sql": "create schema app;\ncreate table app.t (id bigint);\n"}


@dataclass(frozen=True, slots=True)
class Case:
    """What a task is run on."""

    target: Target
    folder: MigrationFolder
    settings: Settings


def look(case: Case) -> None:
    assert len(status(case.target, case.folder, case.settings).steps) == 1


def prove(case: Case) -> None:
    """Verify; a report whose rebuild was not possible says it as an error would."""
    report = verify(case.target, case.folder, case.settings)
    [line] = [line for line in report.lines if line.name == "rebuild"]
    if line.outcome is Outcome.IMPOSSIBLE:
        [found] = line.findings
        raise TargetError(found.message, detail=found.source, hint=found.hint)
    assert line.outcome is Outcome.OK, line


def rebuild(case: Case) -> None:
    assert len(reset(case.target, case.folder, case.settings).results) == 1


def apply(case: Case) -> None:
    migrate(case.target, case.folder, case.settings)


# In this order: those that only look come first.
TASKS: dict[str, Callable[[Case], None]] = {
    "status": look,
    "verify": prove,
    "migrate": apply,
    "reset": rebuild,
}

# Puts a cluster into trouble, and gives the target of the tasks. The name is that of a new
# database, and of a role that may create schemas in it and tables in public.
Trouble = Callable[[Cluster, str], Iterator[Target]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A target in trouble, and what each task says; one that is not named does its work."""

    trouble: Trouble
    says: dict[str, tuple[str, str]]
    """Of each task that is refused: a part of the sentence, and of the hint."""
    code: int
    history: str

    @property
    def name(self) -> str:
        return self.trouble.__name__


EXHIBITS: list[Exhibit] = []


def exhibit(
    *tasks: str,
    says: str,
    hint: str,
    code: int = 2,
    history: str = "public.schema_migrations",
    reset: tuple[str, str] | None = None,
) -> Callable[[Trouble], Trouble]:
    """Register what these tasks say of a target (all, when none is named), and what to do.

    `reset` is what that task says instead, where it looks at something else first.
    """

    def register(trouble: Trouble) -> Trouble:
        EXHIBITS.append(
            Exhibit(
                trouble=trouble,
                says=dict.fromkeys(tasks or TASKS, (says, hint))
                | ({"reset": reset} if reset else {}),
                code=code,
                history=history,
            )
        )
        return trouble

    return register


writers = ("migrate", "reset")


# --- no connection ----------------------------------------------------------------------------


@exhibit(says="nobody listens there", hint="check that the server runs")
def a_port_where_nobody_listens(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, port="1")


@exhibit(says="the name of the host is not known", hint="check that the server runs")
def a_host_that_nobody_knows(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, host="nowhere.invalid")


@exhibit(says="there is no such database", hint="create it: createdb")
def a_database_that_was_dropped(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"drop database {name}")
    yield place.target(name)


@exhibit(says="its DROP DATABASE was interrupted", hint="dropdb")
def a_database_in_the_middle_of_an_interrupted_drop(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"update pg_database set datconnlimit = -2 where datname = '{name}'")
    yield place.target(name)


@exhibit(says="this database takes no connections", hint="ALLOW_CONNECTIONS true")
def a_database_that_is_closed(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter database {name} allow_connections false")
    yield place.target(name)


@exhibit(says="the role may not connect to this database", hint="GRANT CONNECT ON DATABASE")
def a_role_without_connect(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"revoke connect on database {name} from public")
    yield place.target(name, name)


@exhibit(says="the role may not log in", hint="LOGIN")
def a_role_without_login(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter role {name} nologin")
    yield place.target(name, name)


@exhibit(says="the server knows no such role", hint="check the user in DATABASE_URL")
def a_role_that_does_not_exist(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, "nobody_here")


@exhibit(says="the role has all the connections it may have", hint="ALTER ROLE")
def a_role_at_its_limit(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter role {name} connection limit 0")
    yield place.target(name, name)


@exhibit(says="the database has all the connections it may have", hint="ALTER DATABASE")
def a_database_at_its_limit(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter database {name} connection limit 0")
    yield place.target(name, name)


@exhibit(says="all its connections are taken", hint="max_connections")
def a_server_at_its_limit(place: Cluster, name: str) -> Iterator[Target]:
    with ExitStack() as held:
        with suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(place.target(name, name).conninfo))
        yield place.target(name, name)


@exhibit(says="its pg_hba.conf does not let this role in from here", hint="pg_hba.conf")
def a_role_that_pg_hba_conf_keeps_out(place: Cluster, name: str) -> Iterator[Target]:
    with keeping_out(place, f"host all {name} 127.0.0.1/32 reject"):
        yield place.target(name, name)


@exhibit(says="does not let this role in without TLS", hint="sslmode=require")
def a_server_that_wants_tls(place: Cluster, name: str) -> Iterator[Target]:
    with keeping_out(place, ""):
        yield place.target(name, name)


@contextmanager
def keeping_out(place: Cluster, line: str) -> Generator[None]:
    """Let in nobody but the superuser, by a rule of pg_hba.conf or for want of one."""
    before = (place.data / "pg_hba.conf").read_text()
    place.write("pg_hba.conf", f"host all postgres 127.0.0.1/32 trust\n{line}\n")
    place.sql("select pg_reload_conf()")
    until(lambda: value(place.target(), "select count(*) from pg_hba_file_rules") <= 2, "a reload")
    yield
    place.write("pg_hba.conf", before)
    place.sql("select pg_reload_conf()")
    until(lambda: value(place.target(), "select count(*) from pg_hba_file_rules") > 2, "a reload")


@exhibit(says="it has no TLS, and sslmode asks for it", hint="sslmode in DATABASE_URL")
def a_server_without_the_tls_that_is_asked_for(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, sslmode="require")


@exhibit(says="what target_session_attrs asks for", hint="name the primary")
def a_primary_where_a_standby_is_asked_for(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, target_session_attrs="standby")


@exhibit(says="Headwater knows 99 and newer", hint="upgrade the server")
def a_server_that_is_too_old(place: Cluster, name: str) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connecting, "OLDEST", 99)
        yield place.target(name)


@exhibit(says="the server is starting up", hint="invoke wait")
def a_server_that_is_starting(place: Cluster, name: str) -> Iterator[Target]:
    with follower(place) as another:
        # It never gets what it needs to be consistent.
        another.start("-c 'restore_command=sleep 60'", "-c primary_conninfo=", wait=False)
        until(lambda: "starting up" in refusal(another.target()), "a start")
        yield another.target()


@exhibit(says="the server is shutting down", hint="invoke wait")
def a_server_that_is_shutting_down(place: Cluster, name: str) -> Iterator[Target]:
    with follower(place) as another:
        another.start()
        with psycopg.connect(another.target().conninfo):
            another.stop("smart", wait=False)
            until(lambda: "shutting down" in refusal(another.target()), "a stop")
            yield another.target()


@exhibit(says="it is a standby that answers nobody", hint="name the primary")
def a_standby_that_is_not_hot(place: Cluster, name: str) -> Iterator[Target]:
    with follower(place) as another:
        another.start("-c hot_standby=off", wait=False)
        until(lambda: "Hot standby" in refusal(another.target()), "a start")
        yield another.target()


@contextmanager
def follower(place: Cluster) -> Generator[Cluster]:
    """Give a standby of the cluster, not started: made once, in the folder of the cluster."""
    with standby(place) as another:
        yield another


def refusal(target: Target) -> str:
    """Give the words by which a server lets nobody in, or nothing when it does."""
    try:
        psycopg.connect(target.conninfo, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


# --- nothing can be written -------------------------------------------------------------------


@exhibit(*writers, says="is a standby: it only follows its primary", hint="name the primary")
def a_standby(place: Cluster, name: str) -> Iterator[Target]:
    with follower(place) as another:
        another.start()
        yield another.target()


@exhibit(*writers, says="is read-only", hint="use another role, or: ALTER ROLE")
def a_role_that_is_set_read_only(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter role {name} set default_transaction_read_only = on")
    yield place.target(name, name)


@exhibit(*writers, says="is read-only", hint="IN DATABASE")
def a_role_that_is_set_read_only_here(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter role {name} in database {name} set default_transaction_read_only = on")
    yield place.target(name, name)


@exhibit(*writers, says="is read-only", hint="if it may be written to: ALTER DATABASE")
def a_database_that_is_set_read_only(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter database {name} set default_transaction_read_only = on")
    yield place.target(name)


@exhibit(*writers, says="is read-only", hint="take it out of DATABASE_URL")
def a_url_that_asks_for_read_only(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, options="-c default_transaction_read_only=on")


@exhibit(*writers, says="is read-only", hint="ask who runs the server")
def a_server_that_is_set_read_only(place: Cluster, name: str) -> Iterator[Target]:
    def set_to(state: str) -> None:
        query(
            place.target(options="-c default_transaction_read_only=off"),
            f"alter system set default_transaction_read_only = {state}",
        )
        query(place.target(), "select pg_reload_conf()")
        shown = "show default_transaction_read_only"
        until(lambda: value(place.target(), shown) == state, "a reload")

    set_to("on")
    yield place.target(name, name)
    set_to("off")


@exhibit(*writers, says="triggers and foreign keys would not fire", hint="ALTER ROLE")
def a_role_whose_triggers_sleep(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"alter role {name} set session_replication_role = replica")
    yield place.target(name, name)


# --- a right is missing -----------------------------------------------------------------------


@exhibit(*writers, says="may not create public.schema_migrations", hint="GRANT CREATE ON SCHEMA")
def a_role_without_create_on_public(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"revoke create on schema public from {name}", database=name)
    yield place.target(name, name)


@exhibit(
    "verify", *writers, says="the schema ops", hint="SCHEMA ops", history="ops.schema_migrations"
)
def a_history_whose_schema_is_not_there(place: Cluster, name: str) -> Iterator[Target]:
    yield place.target(name, name)


@exhibit(
    "verify", *writers, says="the schema ops", hint="SCHEMA ops", history="ops.schema_migrations"
)
def a_history_in_a_closed_schema(place: Cluster, name: str) -> Iterator[Target]:
    place.sql("create schema ops", database=name)
    yield place.target(name, name)


def with_history(place: Cluster, name: str, *grants: str) -> Target:
    """Let the superuser make an empty history, and grant the role some rights on it."""
    with connecting.connect(place.target(name), purpose="test") as connection:
        from headwater.postgres.history import create_history

        create_history(connection, Settings(root=Path(), migrations=Path()))
    place.sql(*(f"grant {grant} to {name}" for grant in grants), database=name)
    return place.target(name, name)


@exhibit(
    *("status", "verify", "migrate"),
    says="reading the history: the role lacks a right",
    hint="docs/deploying.md",
    reset=("may not write to public.schema_migrations", "GRANT SELECT, INSERT"),
)
def a_role_that_may_not_read_the_history(place: Cluster, name: str) -> Iterator[Target]:
    yield with_history(place, name)


@exhibit(*writers, says="may not write to public.schema_migrations", hint="GRANT SELECT, INSERT")
def a_role_that_may_only_read_the_history(place: Cluster, name: str) -> Iterator[Target]:
    yield with_history(place, name, "select on public.schema_migrations")


@exhibit(*writers, says="may not write to public.schema_migrations", hint="GRANT SELECT, INSERT")
def a_role_that_may_not_write_to_the_journal(place: Cluster, name: str) -> Iterator[Target]:
    yield with_history(
        place,
        name,
        "select, insert on public.schema_migrations",
        "select on public.schema_migrations_steps",
    )


# --- it is refused on the way -----------------------------------------------------------------

_REFUSES = """
create function public.refuse() returns event_trigger language plpgsql as $$
begin raise exception 'no changes on a Friday'; end $$
"""


@exhibit(*writers, says="an event trigger of the database refused it", hint="event triggers")
def an_event_trigger_that_refuses(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(
        _REFUSES,
        "create event trigger refuse on ddl_command_start execute function public.refuse()",
        database=name,
    )
    yield place.target(name)


@exhibit(
    "migrate",
    code=3,
    says="0001_init.sql:1:1: no changes on a Friday",
    hint="rolled back whole",
    reset=("0001_init.sql:1:1: no changes on a Friday", "nothing changed"),
)
def an_event_trigger_that_refuses_schemas(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(
        _REFUSES,
        "create event trigger refuse on ddl_command_start when tag in ('CREATE SCHEMA') "
        "execute function public.refuse()",
        database=name,
    )
    yield place.target(name)


@exhibit(*writers, code=3, says="0001_init.sql:1:1: permission denied for", hint="grant it")
def a_role_that_may_create_no_schema(place: Cluster, name: str) -> Iterator[Target]:
    place.sql(f"revoke create on database {name} from {name}")
    yield place.target(name, name)


# --- the tests --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place() -> Generator[Cluster]:
    """A cluster that takes eight connections, five of them of ordinary roles."""
    with cluster() as made:
        yield made


def prepare(place: Cluster, name: str) -> None:
    """Make the database and the role of one exhibit."""
    place.sql(
        f"create database {name} template template0",
        f"create role {name} login",
        f"grant create on database {name} to {name}",
        f"comment on database {name} is '{MARK}'",
    )
    place.sql(f"grant create on schema public to {name}", database=name)


def remove(place: Cluster, name: str) -> None:
    """Remove what was made for an exhibit: what is left would slow the others down."""
    place.sql(f"drop database if exists {name} with (force)")


def wrong(task: str, case: Case, shown: Exhibit) -> list[str]:
    """Say what is wrong with what a task says of a target."""
    try:
        TASKS[task](case)
    except AssertionError as error:
        return [f"{shown.name}: {task} did not do its work: {error}"]
    except HeadwaterError as error:
        said, code = error, error.exit_code
    else:
        return [f"{shown.name}: {task} did its work"] if task in shown.says else []
    found = []
    words, hint = shown.says.get(task, ("no error at all", ""))
    if words not in said.message:
        found.append("says something else")
    if "\n" in said.message or len(said.message) > 200:
        found.append("says more than a sentence")
    if not said.detail:
        found.append("gives no facts")
    if hint not in said.hint:
        found.append("gives another hint")
    if code != shown.code:
        found.append(f"ends with {code}")
    return [f"{shown.name}: {task} {what}: {said.message} | {said.hint}" for what in found]


@pytest.mark.slow
def test_every_target_in_trouble_is_told_in_one_clear_sentence(
    place: Cluster, server: Target, settings: Settings
) -> None:
    failures: list[str] = []
    scratch = DatabaseChoice(source="HEADWATER_SCRATCH_URL", url=server.conninfo)
    folder = folder_with(settings, FILES)
    for number, shown in enumerate(EXHIBITS):
        name = f"exhibit_{number}"
        prepare(place, name)
        schema, _, table = shown.history.partition(".")
        chosen = replace(
            settings, scratch=scratch, history_schema=schema, history_table=table, wait_lock_ms=0
        )
        with contextmanager(shown.trouble)(place, name) as target:
            case = Case(target, folder, chosen)
            found = [line for task in TASKS for line in wrong(task, case, shown)]
        exists = value(
            place.target(),
            f"select count(*) from pg_database where datname = '{name}' "
            "and datallowconn and datconnlimit <> -2",
        )
        if exists and set(writers) <= set(shown.says) and tables(place.target(name)):
            found.append(f"{shown.name}: something was made")
        failures += found
        remove(place, name)
    told = len(EXHIBITS) - len({line.partition(":")[0] for line in failures})
    print(f"\ntargets told in one clear sentence: {told} of {len(EXHIBITS)}")
    assert failures == [], "\n".join(failures)


# --- a disk that is full ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A cluster with a tablespace on a disk of 24 MB."""

    place: Cluster
    folder: Path

    def database(self, name: str) -> Target:
        """Make a database on the small disk, and connect once: the first one writes a file."""
        self.place.sql(
            f"create database {name} template template0 tablespace small",
            f"comment on database {name} is '{MARK}'",
        )
        self.place.sql("select", database=name)
        return self.place.target(name)

    @contextmanager
    def full(self) -> Generator[None]:
        """Fill it to the last byte, for as long as it is entered."""
        ballast = self.folder / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
            yield
        finally:
            ballast.unlink()


@pytest.fixture(scope="module")
def small_disk() -> Generator[SmallDisk]:
    """A small disk, and a cluster of its own: what cannot be written disturbs all of it."""
    with cluster() as place:
        folder = place.folder / "small"
        folder.mkdir()
        options = f"size=24m,mode=0700,uid={place.account.uid},gid={place.account.gid}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            why = f"a small disk needs the right to mount one: {done.stderr.decode().strip()}"
            # In CI nothing that is promised may go untested.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
        try:
            place.sql(f"create tablespace small location '{folder}'")
            yield SmallDisk(place, folder)
        finally:
            place.stop()
            subprocess.run(["umount", folder], check=True)


MUCH = (
    "create schema b;\ncreate table b.t as\n"
    "select i, pg_catalog.repeat('x', 1000) from generate_series(1, 40000) i;\n"
)


@pytest.mark.parametrize("run", [migrate, reset])
def test_a_file_that_fills_the_disk_is_rolled_back_and_the_disk_is_named(
    settings: Settings, small_disk: SmallDisk, run: Callable[..., object]
) -> None:
    target = small_disk.database(f"filling_{run.__name__}")
    first = folder_with(settings, FILES)
    migrate(target, first, settings)
    with pytest.raises(HeadwaterError, match=r"0002_much.sql:2.*No space left") as caught:
        run(target, folder_with(settings, FILES | {"0002_much.sql": MUCH}), settings)
    assert caught.value.exit_code == 3
    assert "the server's disk is full: make room" in caught.value.hint
    assert recorded(target, settings) == ["0001_init"]
    assert (tables(target), tables(target, "b")) == (["t"], [])
    remove(small_disk.place, target.database)


def test_a_disk_that_is_full_already_is_told_by_those_that_write(
    settings: Settings, small_disk: SmallDisk
) -> None:
    target, folder = small_disk.database("filled"), folder_with(settings, FILES)
    with small_disk.full():
        assert len(status(target, folder, settings).steps) == 1
        for run in (migrate, reset):
            with pytest.raises(TargetError, match="the server's disk is full") as caught:
                run(target, folder, settings)
            assert caught.value.exit_code == 2
            assert "make room on the server" in caught.value.hint
    assert len(migrate(target, folder, settings).results) == 1
    remove(small_disk.place, "filled")


def test_a_disk_so_full_that_nobody_gets_in_is_told(
    settings: Settings, small_disk: SmallDisk
) -> None:
    small_disk.place.sql("create database unvisited template template0 tablespace small")
    with small_disk.full(), pytest.raises(Unreachable, match="the server's disk is full"):
        status(small_disk.place.target("unvisited"), folder_with(settings, FILES), settings)
    remove(small_disk.place, "unvisited")


# --- a database that goes while it is worked on -----------------------------------------------


def test_a_database_that_is_dropped_after_the_plan_is_told(
    place: Cluster, settings: Settings
) -> None:
    """The notice of the lock's wait comes between plan and run: that is when it goes."""
    prepare(place, "going")
    target = place.target("going")
    folder = folder_with(settings, FILES)
    holder = psycopg.connect(target.conninfo, autocommit=True)
    holder.execute("select pg_advisory_lock(%s)", (settings.lock_key,))

    def drop(event: Event) -> None:
        remove(place, "going")

    with pytest.raises(Unreachable) as caught:
        migrate(target, folder, settings, notify=drop)
    holder.close()
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith("taking the lock: the connection was lost")
    assert "an administrator, or a drop of the database, ended it" in caught.value.message


# --- timeouts that were made for an application -----------------------------------------------


def test_a_timeout_of_idle_sessions_does_not_end_the_wait_for_the_lock(
    place: Cluster, settings: Settings
) -> None:
    prepare(place, "idle")
    place.sql("alter role idle set idle_session_timeout = '500ms'")
    target = place.target("idle", "idle")
    folder = folder_with(settings, FILES)
    with psycopg.connect(place.target("idle").conninfo, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(%s)", (settings.lock_key,))

        def release(event: Event) -> None:
            if isinstance(event, Said):
                holder.execute("select pg_sleep(1)")
                holder.execute("select pg_advisory_unlock_all()")

        assert len(migrate(target, folder, settings, notify=release).results) == 1
    remove(place, "idle")


def test_a_timeout_of_statements_does_not_end_the_making_of_the_history(
    place: Cluster, settings: Settings
) -> None:
    prepare(place, "hasty")
    place.sql(
        "create function public.dawdle() returns event_trigger language plpgsql as "
        "'begin perform pg_sleep(0.3); end'",
        "create event trigger dawdle on ddl_command_end when tag in ('CREATE TABLE') "
        "execute function public.dawdle()",
        database="hasty",
    )
    place.sql("alter role hasty set statement_timeout = '250ms'")
    folder = folder_with(settings, FILES)
    assert len(migrate(place.target("hasty", "hasty"), folder, settings).results) == 1
    remove(place, "hasty")


# --- a journal that may not be read -----------------------------------------------------------


def test_status_says_what_it_could_not_look_at(place: Cluster, settings: Settings) -> None:
    prepare(place, "closed_journal")
    target = with_history(place, "closed_journal", "select on public.schema_migrations")
    plan = status(target, folder_with(settings, FILES), settings)
    assert [entry.state for entry in plan.entries] == [State.PENDING]
    [note] = plan.notes
    assert note.startswith("the role may not read public.schema_migrations_steps")
    assert note in [line.text for line in status_lines(plan)]
    assert status_json(plan)["notes"] == [note]
    remove(place, "closed_journal")


# --- another machine, with and without TLS ----------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere() -> Generator[Cluster]:
    """A cluster that answers on this machine's address in the network, with TLS and without."""
    with cluster({"listen_addresses": "*"}) as made:
        certificate(made)
        made.configure(ssl="on")
        made.write("pg_hba.conf", "host all all all trust\n")
        made.stop()
        made.start()
        yield made


def address() -> str:
    """Give an address of this machine that is not loopback; no packet is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        why = "this machine has no address but loopback"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    return found


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
def test_a_connection_to_another_machine_is_told_with_or_without_tls(
    elsewhere: Cluster, settings: Settings, sslmode: str
) -> None:
    host = address()
    target = elsewhere.target(host=host, sslmode=sslmode)
    folder = folder_with(settings, FILES)
    plan = status(target, folder, settings)
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Said):
            said.append(event.message)

    elsewhere.sql("drop schema if exists app cascade")
    elsewhere.sql("drop table if exists schema_migrations, schema_migrations_steps")
    migrate(target, folder, settings, notify=hear)
    verify(
        target,
        folder,
        replace(settings, scratch=DatabaseChoice(source="SCRATCH", url=target.conninfo)),
        notify=hear,
    )
    warnings = [message for message in said if "WARNING" in message]
    if sslmode == "disable":
        expected = f"WARNING: the connection to {host} is not encrypted"
        assert [note.startswith(expected) for note in plan.notes] == [True]
        assert [warning.startswith(expected) for warning in warnings] == [True, True]
        assert f"put sslmode=verify-full (or require) into {target.source}" in warnings[0]
    else:
        assert plan.notes == (f"the connection to {host} is encrypted (TLS)",)
        assert warnings == []


def test_a_connection_that_stays_on_this_machine_needs_no_word(
    elsewhere: Cluster, settings: Settings
) -> None:
    for host in ("127.0.0.1", "127.0.0.2"):
        target = elsewhere.target(host=host, sslmode="disable")
        assert status(target, folder_with(settings, FILES), settings).notes == ()


def test_sslmode_is_never_taken_out_of_a_url() -> None:
    url = "postgresql://ana@db.example/shop?sslmode=verify-full&sslrootcert=system"
    target = target_of(DatabaseChoice(source="DATABASE_URL", url=url))
    for one in (target, with_database(target, "postgres", "scratch")):
        known = conninfo_to_dict(one.conninfo)
        assert (known["sslmode"], known["sslrootcert"]) == ("verify-full", "system")
