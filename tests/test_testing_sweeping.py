"""Sweeping: what runs that have ended left behind goes, and nothing else."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headwater.model import Target
from headwater.postgres.makers import Maker, this_process
from headwater.settings import DatabaseChoice, Settings
from headwater.testing.databases import note_of_lending
from headwater.testing.making import APPLICATION
from headwater.testing.sweeping import Swept, sweep, sweep_databases, sweep_server
from tests.support import query, session, until
from tests.tenants import Tenant, ended_process, named, tenant_on

DEAD = ended_process()
ELSEWHERE = Maker(machine="00000000", pid=4711, started=1)
NOW = datetime.now(UTC)
KEPT = "headwater: kept at {} for a test"


def kept(ago: timedelta) -> str:
    return KEPT.format((NOW - ago).isoformat())


def lent(ago: timedelta, to: Maker | None = None) -> str:
    return note_of_lending(NOW - ago, to)


@pytest.fixture
def tenant(server: Target) -> Generator[Tenant]:
    with tenant_on(server) as made:
        yield made


def swept_by_the_next_run(tenant: Tenant) -> set[str]:
    """Sweep as a run does when it begins; give what went."""
    before = set(tenant.databases(""))
    sweep_server(tenant.server)
    return before - set(tenant.databases(""))


def swept_by_hand(tenant: Tenant, tmp_path: Path) -> Swept:
    """Sweep as `invoke db.sweep` does; what it says that it has dropped is gone, and no more."""
    before = set(tenant.databases(""))
    server = DatabaseChoice(source="TEST_DATABASE_URL", url=tenant.url)
    swept = sweep(Settings(root=tmp_path, migrations=tmp_path / "migrations", test=server))
    assert before - set(tenant.databases("")) == set(swept.dropped)
    return swept


HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# What the comment on a database of an ended run says; whether the next run sweeps it, and whether
# a sweep by hand does.
ENDED = {
    "nothing: killed before it could write": ("", True, True),
    "that it was made": ("headwater: disposable\nheadwater: test database of …", True, True),
    "that it is kept": (kept(HOUR), False, True),
    "that it was kept yesterday": (kept(DAY + HOUR), True, True),
    "that it was kept where the clock is ahead": (kept(-HOUR), False, True),
    "that it is lent": (lent(-HOUR), False, False),
    "that it was lent": (lent(HOUR), True, True),
    "that it is lent to a process that runs": (lent(-HOUR, this_process()), False, False),
    "that it is lent to a process that has ended": (lent(-HOUR, DEAD), True, True),
    "that it is lent to a process elsewhere": (lent(-HOUR, ELSEWHERE), False, False),
    "that it was lent to a process that still runs": (lent(HOUR, this_process()), True, True),
    "what cannot be read": (KEPT.format("0001-01-01T00:00:00+23:59"), True, True),
}


def test_what_an_ended_run_left_goes_unless_it_was_kept_or_lent(
    tenant: Tenant, tmp_path: Path
) -> None:
    names = {case: tenant.made(named(DEAD), comment) for case, (comment, *_) in ENDED.items()}
    gone = swept_by_the_next_run(tenant)
    assert {case for case, name in names.items() if name in gone} == {
        case for case, (_, expected, _) in ENDED.items() if expected
    }
    swept_by_hand(tenant, tmp_path)
    left = tenant.databases()
    assert {case for case, name in names.items() if name in left} == {
        case for case, (*_, expected) in ENDED.items() if not expected
    }


def test_what_is_somebodys_or_nobody_knows_whose_stays(tenant: Tenant, tmp_path: Path) -> None:
    stay = {
        "of a process that runs": named(this_process()),
        "chosen by somebody": f"headwater_test_{tenant.role}",
        "chosen to look alike": f"headwater_test_{DEAD}",
        "of another tool": f"other_{DEAD}_{secrets.token_hex(4)}",
        "somebody's template": f"headwater_template_{tenant.role}",
    }
    for name in stay.values():
        tenant.made(name)
    with tenant_on(tenant.admin) as other:
        theirs = other.made(named(DEAD))
        assert swept_by_the_next_run(tenant) == set()
        assert swept_by_hand(tenant, tmp_path) == Swept()
        assert other.databases() == [theirs]
    assert tenant.databases("") == sorted(stay.values())


def test_of_another_machine_what_goes_is_what_nobody_works_on(
    tenant: Tenant, tmp_path: Path
) -> None:
    """Whoever makes test databases has a session by which it is known."""
    at_work = Maker(machine="00000000", pid=4712, started=1)
    ended, working = tenant.made(named(ELSEWHERE)), tenant.made(named(at_work))
    application = f"headwater test {at_work}"
    with psycopg.connect(tenant.server.conninfo, application_name=application):
        assert swept_by_the_next_run(tenant) == {ended}
        assert swept_by_hand(tenant, tmp_path) == Swept()
    until(lambda: swept_by_the_next_run(tenant) == {working}, "the sweep")


def test_a_number_that_is_used_again_protects_nothing(tenant: Tenant) -> None:
    ours = this_process()
    before = Maker(machine=ours.machine, pid=ours.pid, started=ours.started - 1)
    name = tenant.made(named(before))
    assert swept_by_the_next_run(tenant) == {name}


# --- who is inside ----------------------------------------------------------------------------


@pytest.mark.parametrize("note", [kept(DAY + HOUR), lent(HOUR)], ids=["kept", "lent"])
def test_what_was_kept_or_lent_stays_while_somebody_looks_into_it(
    tenant: Tenant, tmp_path: Path, note: str
) -> None:
    name = tenant.made(named(DEAD), note)
    begun = time.monotonic()
    with psycopg.connect(tenant.to(name)):
        swept = swept_by_hand(tenant, tmp_path)
    assert time.monotonic() - begun < 4, "DROP DATABASE waits five seconds"
    assert swept.in_use == (name,)
    assert "somebody is connected" in swept.summary
    assert name in swept.summary
    until(lambda: swept_by_hand(tenant, tmp_path).dropped == (name,), "the sweep")


@pytest.mark.parametrize("note", ["", lent(-HOUR, DEAD)], ids=["nothing noted", "lent"])
def test_a_session_that_outlives_its_run_is_ended(
    tenant: Tenant, tmp_path: Path, note: str
) -> None:
    name = tenant.made(named(DEAD), note)
    with psycopg.connect(tenant.to(name)):
        assert swept_by_hand(tenant, tmp_path).dropped == (name,)


def test_what_the_server_refuses_to_drop_stops_nobody(tenant: Tenant, tmp_path: Path) -> None:
    """A session of a superuser is ended by no other role."""
    stuck, other = sorted([tenant.made(named(DEAD)), tenant.made(named(DEAD))])
    inside = Target(
        **{name: getattr(tenant.admin, name) for name in ("host", "port", "user", "source")},
        database=stuck,
        conninfo=psycopg.conninfo.make_conninfo(tenant.admin.conninfo, dbname=stuck),
    )
    with session(inside):
        swept = swept_by_hand(tenant, tmp_path)
        assert (swept.dropped, swept.stuck) == ((other,), (stuck,))
        assert f"the server refuses: {stuck}" in swept.summary
        assert swept_by_the_next_run(tenant) == set()  # and it does not fail
    assert swept_by_hand(tenant, tmp_path).dropped == (stuck,)


def test_a_run_elsewhere_that_begins_during_a_sweep_keeps_what_it_makes(tenant: Tenant) -> None:
    """It makes nothing before it can be seen: so whoever is at work is asked for last."""
    name = named(ELSEWHERE)

    class Between:
        """A connection behind whose first statement that run begins."""

        def __init__(self, connection: psycopg.Connection[Any]) -> None:
            self.connection = connection
            self.begun = False

        def execute(self, *arguments: Any) -> Any:
            done = self.connection.execute(*arguments)
            if not self.begun:
                self.begun = True
                working.execute(f"set application_name = '{APPLICATION}{ELSEWHERE}'")
                tenant.made(name)
            return done

    with (
        psycopg.connect(tenant.server.conninfo, autocommit=True) as working,
        psycopg.connect(tenant.server.conninfo, autocommit=True) as connection,
    ):
        between: Any = Between(connection)
        assert sweep_databases(between).dropped == ()
    assert tenant.databases() == [name]


def test_of_all_that_was_kept_the_newest_stay(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run may keep some: a day of failing runs would fill the disk."""
    monkeypatch.setattr("headwater.testing.sweeping._MOST_EVIDENCE", 2)
    made = [
        tenant.made(
            named(DEAD), KEPT.format((datetime.now(UTC) - timedelta(minutes=m)).isoformat())
        )
        for m in (3, 1, 4, 2)
    ]
    assert swept_by_the_next_run(tenant) == {made[0], made[2]}


# --- killed while they made one ---------------------------------------------------------------


def scratch(maker: Maker) -> str:
    return f"headwater_scratch_{maker}_{secrets.token_hex(4)}"


def test_a_scratch_database_goes_with_the_statement_that_still_runs_in_it(
    tenant: Tenant, tmp_path: Path
) -> None:
    """The server notices only after a while that a client was killed."""
    ended, ours = tenant.made(scratch(DEAD)), tenant.made(scratch(this_process()))
    with ExitStack() as stack:
        running = stack.enter_context(psycopg.connect(tenant.to(ended)))
        thread = threading.Thread(target=sleep_until_ended, args=[running])
        thread.start()
        until(lambda: is_sleeping(tenant), "the statement")
        assert swept_by_hand(tenant, tmp_path).dropped == (ended,)
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert tenant.databases("") == [ours]


def sleep_until_ended(connection: psycopg.Connection[object]) -> None:
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select pg_sleep(60)")


def is_sleeping(tenant: Tenant) -> bool:
    return bool(
        query(
            tenant.admin,
            "select 1 from pg_stat_activity where wait_event = 'PgSleep' "
            f"and usename = '{tenant.role}'",
        )
    )


def test_a_killed_run_makes_no_database_after_the_sweep(tenant: Tenant, tmp_path: Path) -> None:
    """What it has asked for goes on: here it waits for a lock, elsewhere it copies files."""
    blocked = tenant.made(f"entered_{tenant.role}")
    name = named(DEAD)
    with psycopg.connect(tenant.to(blocked)) as inside:
        making = psycopg.connect(tenant.server.conninfo, autocommit=True)
        thread = threading.Thread(target=ask_for_a_clone, args=[making, name, blocked])
        thread.start()
        try:
            until(lambda: is_active(tenant, "CREATE DATABASE"), "the making")
            swept_by_hand(tenant, tmp_path)
            assert not is_active(tenant, "CREATE DATABASE")
        finally:
            inside.close()
            thread.join(timeout=30)
        making.close()
    assert name not in tenant.databases()


def ask_for_a_clone(connection: psycopg.Connection[object], name: str, template: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())


def is_active(tenant: Tenant, text: str) -> bool:
    return bool(
        query(
            tenant.admin,
            f"select 1 from pg_stat_activity where state = 'active' and query ^@ '{text}' "
            f"and usename = '{tenant.role}'",
        )
    )


def test_the_session_of_a_killed_run_ends_though_it_has_nothing_to_do_yet(
    tenant: Tenant, tmp_path: Path
) -> None:
    """Its statement may be on the way to the server; a living one's session stays."""
    opened = [
        psycopg.connect(tenant.server.conninfo, application_name=f"headwater test {maker}")
        for maker in (DEAD, this_process(), ELSEWHERE)
    ]
    pids = [connection.info.backend_pid for connection in opened]
    swept_by_hand(tenant, tmp_path)
    left = query(tenant.admin, f"select pid from pg_stat_activity where pid = any (array{pids})")
    for connection in opened:
        connection.close()
    assert sorted(pid for (pid,) in left) == sorted(pids[1:])


# --- templates --------------------------------------------------------------------------------


def test_templates_that_nobody_uses_go_and_those_in_use_stay(
    tenant: Tenant, tmp_path: Path
) -> None:
    note = "headwater: template of somebody, used {}"
    stale = tenant.made(
        f"headwater_template_a_{tenant.role}", note.format((NOW - 15 * DAY).isoformat())
    )
    used = tenant.made(
        f"headwater_template_b_{tenant.role}", note.format((NOW - 13 * DAY).isoformat())
    )
    assert swept_by_hand(tenant, tmp_path).dropped == (stale,)
    assert tenant.databases("") == [used]


def test_a_stale_template_that_cannot_be_dropped_is_not_told_as_dropped(
    tenant: Tenant, tmp_path: Path
) -> None:
    note = f"headwater: template of somebody, used {(NOW - 15 * DAY).isoformat()}"
    name = tenant.made(f"headwater_template_{tenant.role}", note)
    query(tenant.server, f"alter database {name} is_template true")
    try:
        assert swept_by_hand(tenant, tmp_path).dropped == ()
    finally:
        query(tenant.server, f"alter database {name} is_template false")
