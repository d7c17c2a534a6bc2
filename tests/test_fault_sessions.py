"""Nothing of one file is seen by the next, whatever it left and by whatever way.

Each kind has a run of its own: a session that was given up for one of them would hide the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headwater.files.read import read_folder
from headwater.model import Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.faults.leaks import SETUP, Leak, every_leak
from tests.faults.state import run
from tests.faults.stride import drawn
from tests.support import migrated, query, value, write_files

pytestmark = pytest.mark.slow

BASE = {"0000_base.sql": SETUP}
Clone = Callable[[], AbstractContextManager[Target]]


@pytest.fixture(scope="module")
def base(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The name of a database in which a leak can be noted."""
    with fresh_database() as url:
        name = str(conninfo_to_dict(url)["dbname"])
        root = tmp_path_factory.mktemp("base")
        target = with_database(server, name, "test")
        migrated(target, Settings(root=root, migrations=root), BASE)
        yield name


@pytest.fixture
def clone(server: Target, fresh_database: FreshDatabase, base: str) -> Clone:
    """Make a database for one leak, and drop it afterwards."""

    @contextmanager
    def make() -> Generator[Target]:
        with fresh_database(base) as url:
            target = with_database(server, str(conninfo_to_dict(url)["dbname"]), "test")
            # An origin belongs to the whole server, and is nothing that a session makes.
            query(target, f"select pg_replication_origin_create('{target.database}')")
            try:
                yield target
            finally:
                with suppress(psycopg.Error):
                    query(target, f"select pg_replication_origin_drop('{target.database}')")

    return make


def of_this_database(leak: Leak, target: Target) -> Leak:
    """Fill in what a leak must know of its database."""
    with psycopg.connect(target.conninfo) as connection:
        connection.execute("select setseed(0.25)")
        row = connection.execute("select random()::text").fetchone()
    facts = {
        "{seeded}": row[0] if row else "",
        "{conninfo}": target.conninfo.replace("'", "''"),
        "{unique}": target.database,
    }

    def filled(text: str) -> str:
        for name, fact in facts.items():
            text = text.replace(name, fact)
        return text

    return replace(
        leak, leaves=filled(leak.leaves), sees=filled(leak.sees), setup=filled(leak.setup)
    )


def what_the_next_file_sees(leak: Leak, target: Target, root: Path, *, before: bool) -> str:
    """Run a file that leaves something and one that looks; say what is wrong, or nothing.

    `before`: what the leak needs was brought by an earlier run, else by this one.
    """
    settings = Settings(root=root, migrations=root, schemas=("app",))
    files = BASE | ({"0001_setup.sql": leak.setup} if leak.setup else {})
    write_files(root, files)
    if before:
        ending = run(target, read_folder(root), settings)
        assert ending.code == 0, ending.words
    write_files(
        root,
        {
            "0002_leaves.sql": f"{leak.leaves};",
            "0003_looks.sql": f"insert into app.seen values ({leak.sees});",
        },
    )
    ending = run(target, read_folder(root), settings)
    if ending.code:
        return ending.words
    [(seen,)] = query(target, "select leaked from app.seen")
    return "seen" if seen is not False else ""


def test_no_kind_of_session_state_is_seen_by_the_next_file(tmp_path: Path, clone: Clone) -> None:
    leaks = every_leak()
    cases = drawn(
        [
            (name, leak, before)
            for name, leak in leaks.items()
            for before in ((True, False) if leak.setup else (True,))
        ]
    )

    def one(case: tuple[str, Leak, bool]) -> str:
        name, leak, before = case
        with clone() as target:
            root = tmp_path / f"{list(leaks).index(name)}_{before}"
            wrong = what_the_next_file_sees(
                of_this_database(leak, target), target, root, before=before
            )
        return f"{name} ({'an earlier run' if before else 'this run'}): {wrong}" if wrong else ""

    with ThreadPoolExecutor(4) as pool:
        wrong = list(filter(None, pool.map(one, cases)))
    seen = {each.split(" (")[0] for each in wrong}
    print(f"session state seen by the next file: {len(seen)} of {len({c[0] for c in cases})} kinds")
    assert not wrong, "\n".join(wrong)
    assert len(leaks) > 60


def test_each_kind_is_seen_by_what_follows_in_the_same_session(clone: Clone) -> None:
    unseen = []
    for name, general in drawn([*every_leak().items()]):
        with clone() as target:
            leak = of_this_database(general, target)
            query(target, f"{leak.setup}; grant usage on schema app to public")
            with psycopg.connect(target.conninfo) as connection:
                connection.execute(leak.leaves.encode())
                if name != "local setting":
                    connection.commit()
                if connection.execute(f"select {leak.sees}".encode()).fetchone() != (True,):
                    unseen.append(name)
    assert unseen == []


def test_a_probe_that_nothing_was_left_for_sees_nothing(clone: Clone) -> None:
    seen = []
    for name, general in drawn([*every_leak().items()]):
        with clone() as target:
            leak = of_this_database(general, target)
            query(target, f"{leak.setup}; select 1")
            # As each file begins: another value than the server's own.
            pinned = make_conninfo(target.conninfo, options="-c row_security=off")
            if value(pinned, f"select {leak.sees}") is not False:
                seen.append(name)
    assert seen == []
