"""A runner that is killed, at fifty moments: the next one needs no step by hand."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.model import Target
from headwater.postgres.connect import with_database
from tests.conftest import FreshDatabase
from tests.faults.stride import STRIDE, share
from tests.projects import Project, make_project
from tests.support import query, value

pytestmark = pytest.mark.slow

MOMENTS = share(50, at_least=8)
AT_ONCE = 4
SEED = 20_240_501
# Five times client_connection_check_interval, in which a server notices that a client is gone.
LOCK_FREE_WITHIN_S = 10.0

_HEAD = "-- headwater: no-transaction\n"
_SLEEP = "select pg_sleep(0.05);\n"


def done(number: int) -> str:
    return f"insert into app.done values ({number});\n"


FILES = {
    "0001_base.sql": "create schema app; create table app.done (what int);"
    "create table app.t (i int, j int); insert into app.t select i, i from generate_series(1, 9) i;"
    "create function app.slowly(i int) returns int language plpgsql immutable "
    "as $$ begin perform pg_sleep(0.02); return i; end $$;",
    "0002_data.sql": done(2) + _SLEEP + _SLEEP + done(20),
    "0003_index.sql": _HEAD
    + "create index concurrently t_i on app.t (app.slowly(i));\n"
    + done(3)
    + _SLEEP
    + "create unique index concurrently t_j on app.t (j);\n",
    "0004_table.sql": "create table app.u (i int);" + _SLEEP + done(4) + _SLEEP,
    "0005_plain.sql": _HEAD + _SLEEP + done(5) + _SLEEP + done(50) + "vacuum app.t;\n" + done(51),
    "0006_type.sql": "create type app.mood as enum ('sad');" + done(6) + _SLEEP,
    "0007_value.sql": _HEAD
    + "alter type app.mood add value 'happy';\n"
    + _SLEEP
    + "reindex index concurrently app.t_i;\n"
    + done(7)
    + "drop index concurrently app.t_j;\n",
}
ONCE = [2, 3, 4, 5, 6, 7, 20, 50, 51]


@pytest.fixture
def databases(
    server: Target, fresh_database: FreshDatabase
) -> Callable[[], AbstractContextManager[Target]]:
    """Make an empty database, and drop it afterwards."""

    @contextmanager
    def make() -> Generator[Target]:
        with fresh_database() as url:
            yield with_database(server, str(conninfo_to_dict(url)["dbname"]), "test")

    return make


@dataclass(frozen=True, slots=True)
class Killed:
    """One runner that was killed: where it stood, and how the next one ended."""

    moment: float
    versions: int
    half_done: bool
    lock_free_after_s: float
    wrong: str

    @property
    def stood(self) -> str:
        """Say where it was killed."""
        if self.half_done:
            return "inside a no-transaction file"
        if 0 < self.versions < len(FILES):
            return "behind a file"
        return "before the first" if self.versions == 0 else "at its end"


def kill_at(moment: float, target: Target, root: Path, *, patient: bool) -> Killed:
    """Kill a runner, then run the next one: at once, or when the server has seen its end."""
    project = make_project(root, FILES, target)
    runner = project.begin("migrate")
    time.sleep(moment)
    runner.kill()
    runner.communicate()
    begun = time.monotonic()
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        free = _lock_is_free(connection)
        while not free and time.monotonic() - begun < 3 * LOCK_FREE_WITHIN_S:
            time.sleep(0.02)
            free = _lock_is_free(connection)
        after = time.monotonic() - begun
        [(versions, half_done)] = _standing(connection)
        if patient:
            time.sleep(2.5)
    return Killed(moment, versions, half_done, after, _what_is_wrong(project, target))


def _lock_is_free(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    found = connection.execute(
        "select from pg_locks l join pg_database d on d.oid = l.database "
        "where l.locktype = 'advisory' and d.datname = current_database() and l.granted"
    )
    return found.rowcount == 0


def _standing(connection: psycopg.Connection[tuple[object, ...]]) -> list[tuple[int, bool]]:
    [(there,)] = connection.execute("select to_regclass('schema_migrations_steps') is not null")
    if not there:
        return [(0, False)]
    [(versions, steps)] = connection.execute(
        "select (select count(*) from schema_migrations), "
        "(select count(*) from schema_migrations_steps)"
    )
    assert isinstance(versions, int)
    return [(versions, bool(steps))]


def _what_is_wrong(project: Project, target: Target) -> str:
    """Run the next one, and say what is not as it must be, or nothing."""
    process = project.begin("migrate")
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return "the next run does not end"
    if process.returncode != 0:
        return f"the next run ended with {process.returncode}:\n{err}"
    found = [row[0] for row in query(target, "select what from app.done order by 1")]
    if found != ONCE:
        return f"what must be there once is {found}"
    if len(_versions(target)) != len(FILES):
        return f"history has {_versions(target)}"
    if value(target, "select count(*) from pg_index where not indisvalid"):
        return "an index is invalid"
    left = value(target, "select count(*) from schema_migrations_steps")
    indexes = value(
        target,
        "select string_agg(relname, ' ' order by 1) from pg_class "
        "where relkind = 'i' and relnamespace = 'app'::regnamespace",
    )
    return f"journal {left}, indexes {indexes}" if (left, indexes) != (0, "t_i") else ""


def _versions(target: Target) -> list[str]:
    rows = query(target, "select version from schema_migrations order by 1")
    return [row[0] for row in rows]


def test_a_runner_killed_at_any_moment_leaves_nothing_to_do_by_hand(
    tmp_path: Path, databases: Callable[[], AbstractContextManager[Target]]
) -> None:
    with databases() as target:
        begun = time.monotonic()
        project = make_project(tmp_path / "whole", FILES, target)
        project.invoke("migrate")
        whole = time.monotonic() - begun
        assert _what_is_wrong(project, target) == ""

    chance = random.Random(SEED)
    # Spread evenly, and shaken inside each part; a crowd of processes is slower than one.
    spread = ((number + chance.random()) / MOMENTS for number in range(MOMENTS))
    moments = [whole * (0.3 + 1.7 * share) for share in spread]
    chance.shuffle(moments)

    def one(case: tuple[int, float]) -> Killed:
        number, moment = case
        with databases() as target:
            root = tmp_path / f"killed{number}"
            return kill_at(moment, target, root, patient=number % 5 == 0)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, enumerate(moments)))
    wrong = [f"{each.moment:.2f} s ({each.stood}): {each.wrong}" for each in found if each.wrong]
    late = [each for each in found if each.lock_free_after_s > LOCK_FREE_WITHIN_S]
    stood = ", ".join(f"{n} {where}" for where, n in Counter(e.stood for e in found).items())
    print(
        f"killed with SIGKILL: next run needs no step by hand {MOMENTS - len(wrong)} of {MOMENTS}; "
        f"lock free within {LOCK_FREE_WITHIN_S:.0f} s {MOMENTS - len(late)} of {MOMENTS} "
        f"(latest {max(each.lock_free_after_s for each in found):.1f} s); {stood}"
    )
    assert not wrong, "\n".join(wrong)
    assert not late
    assert STRIDE > 1 or len({each.stood for each in found}) == 4
