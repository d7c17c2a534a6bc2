"""Many runners at once: each version exactly once, and nobody sees an error of the server's."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.model import Target
from headwater.settings import Settings
from tests.faults.runners import Ran, Runner, runners
from tests.faults.stride import share
from tests.projects import make_project
from tests.support import query, recorded, running_sessions, session, until, value, write_files

pytestmark = pytest.mark.slow

ROUNDS = share(25, at_least=4)
GATE = 4711
DONE, BUSY = 0, 5

BASE = {
    "0000_base.sql": "create schema app; create table app.t (i int, j int);"
    "insert into app.t select i, i from generate_series(1, 100) i;"
    "create table app.done (round int not null);"
}
NO_TRANSACTION = "-- headwater: no-transaction\n"


def transactional(number: int) -> str:
    return f"create table app.t{number} (i int); insert into app.done values ({number});"


def concurrently(number: int) -> str:
    return (
        f"{NO_TRANSACTION}create index concurrently t_{number} on app.t (i, j);\n"
        f"insert into app.done values ({number});\n"
        f"drop index concurrently app.t_{number};\n"
    )


# What only a server says: its classes of error, and the words of a driver that lost it.
RAW = re.compile(
    "SQLSTATE|deadlock|duplicate key|already exists|does not exist|could not|Traceback|psycopg"
    "|current transaction|server closed",
    re.IGNORECASE,
)


def one_round(
    all_of_them: list[Runner], target: Target, settings: Settings, files: dict[str, str]
) -> list[Ran]:
    write_files(settings.migrations, files)
    for runner in all_of_them:
        runner.begin(target, settings)
    return [runner.end() for runner in all_of_them]


@pytest.mark.parametrize("text_of", [transactional, concurrently])
@pytest.mark.parametrize("count", [2, 4, 16])
def test_runners_at_once_apply_each_version_exactly_once(
    target: Target, settings: Settings, count: int, text_of: Callable[[int], str]
) -> None:
    wrong: list[str] = []
    with runners(count) as found:
        one_round(list(found), target, settings, BASE)
        for number in range(1, ROUNDS + 1):
            version = f"{number:04}_round{number}"
            ran = one_round(list(found), target, settings, {f"{version}.sql": text_of(number)})
            applied = [each for one in ran for each in one.versions]
            wrong += [
                f"round {number}: {one.ending}\n{one.ending.words}"
                for one in ran
                if one.ending.code not in {DONE, BUSY} or RAW.search(one.ending.words)
            ]
            if applied != [version]:
                wrong.append(f"round {number}: applied {applied}")
    rounds = query(target, "select round, count(*) from app.done group by 1 order by 1")
    once = sum(row[1] == 1 for row in rounds)
    print(
        f"{count} runners at once, {text_of.__name__}: "
        f"exactly once {once} of {ROUNDS} rounds, wrong {len(wrong)} of {ROUNDS * count} runs"
    )
    assert not wrong, "\n".join(wrong)
    assert rounds == [(number, 1) for number in range(1, ROUNDS + 1)]
    assert len(recorded(target, settings)) == ROUNDS + 1
    assert value(target, "select count(*) from schema_migrations_steps") == 0
    assert value(target, "select count(*) from pg_index where not indisvalid") == 0


@pytest.mark.parametrize("text_of", [transactional, concurrently])
def test_tasks_at_once_end_well_and_write_no_error_of_the_server(
    target: Target, tmp_path: Path, text_of: Callable[[int], str]
) -> None:
    count, rounds = 4, 3
    project = make_project(tmp_path / "project", BASE, target)
    project.invoke("migrate")
    for number in range(1, rounds + 1):
        project.write({f"migrations/{number:04}_round{number}.sql": text_of(number)})
        started = [project.begin("migrate") for _ in range(count)]
        ended = [project.end(process, "migrate", code=DONE) for process in started]
        assert [each.err for each in ended if RAW.search(each.err)] == []
    assert query(target, "select round from app.done order by 1") == [(1,), (2,), (3,)]


# --- one of two dies --------------------------------------------------------------------------

# Each works for as long as the test keeps the gate shut: however late the second runner comes, the
# first one is there.
GATED = {
    "0001_gate.sql": f"""
create function app.passes(i int) returns int language plpgsql immutable as $$
begin
    while exists (
        select from pg_locks join pg_database d on d.oid = database
        where locktype = 'advisory' and objid = {GATE} and granted and datname = current_database()
    )
    loop perform pg_sleep(0.02); end loop;
    return i;
end $$;"""
}
DIES = {
    "transactional": "insert into app.done values (1); select app.passes(1);",
    "no transaction": f"{NO_TRANSACTION}insert into app.done values (1);\n"
    "select app.passes(1);\ncreate index concurrently t_i on app.t (i);\n",
    "while it builds": f"{NO_TRANSACTION}create index concurrently t_i on app.t (app.passes(i));\n"
    "insert into app.done values (1);\n",
}


@pytest.mark.parametrize("name", DIES)
def test_a_runner_that_waits_finishes_what_a_killed_one_had_begun(
    target: Target, tmp_path: Path, name: str
) -> None:
    project = make_project(tmp_path / "project", BASE | GATED, target)
    project.invoke("migrate")
    project.write({"migrations/0002_dies.sql": DIES[name]})
    with session(target) as gate:
        gate.execute("select pg_advisory_xact_lock(%s)", [GATE])
        first = project.begin("migrate")
        until(lambda: running_sessions(target, "app.passes"), "the first one's work")
        second = project.begin("migrate")
        until(lambda: _waiters(target), "the wait of the second one")
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    ended = project.end(second, "migrate", code=DONE)
    assert "waiting for process" in ended.err
    assert query(target, "select round from app.done") == [(1,)]
    assert value(target, "select count(*) from pg_index where not indisvalid") == 0
    assert value(target, "select count(*) from schema_migrations where version = '0002_dies'") == 1


def _waiters(target: Target) -> bool:
    """Say whether a runner has tried to take the lock that another one holds."""
    count = value(
        target,
        "select count(*) from pg_stat_activity a where datname = current_database() "
        "and application_name = 'headwater lock' and query like '%try_advisory%' and not exists "
        "(select from pg_locks l where l.pid = a.pid and locktype = 'advisory' and granted)",
    )
    return bool(count)
