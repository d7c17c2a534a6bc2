"""A backend that is ended at every boundary: before or after, and after on the next run.

The faults are laid into the server (tests/faults/injection.py), and counted: a first run that
nothing breaks says how many boundaries a migration passes, then it is broken at each of them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from tests.conftest import FreshDatabase
from tests.faults.injection import INSTALL, ON_BOOKKEEPING, ON_DDL, arm, disarm, passed
from tests.faults.kinds import BASE, NO_TRANSACTION, SAME, TRANSACTIONAL, files_of
from tests.faults.state import Ending, Picture, picture_of, run
from tests.faults.stride import drawn
from tests.support import migrated, query, session, until, value, write_files

pytestmark = pytest.mark.slow

Clone = Callable[[], AbstractContextManager[Target]]

FAILED, HALF_DONE, BUSY, UNKNOWN = 3, 4, 5, 6
AT_ONCE = 6


@pytest.fixture(scope="module")
def base(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The name of a database that stands before every kind, with the faults laid in."""
    with fresh_database() as url:
        name = str(conninfo_to_dict(url)["dbname"])
        target = with_database(server, name, "test")
        root = tmp_path_factory.mktemp("base")
        migrated(target, Settings(root=root, migrations=root), BASE)
        query(target, INSTALL + SAME + ON_BOOKKEEPING)
        query(target, ON_DDL)
        yield name


@pytest.fixture
def clone(server: Target, fresh_database: FreshDatabase, base: str) -> Clone:
    """Make a database that stands before every kind, and drop it afterwards."""

    @contextmanager
    def make() -> Generator[Target]:
        with fresh_database(base) as url:
            yield with_database(server, str(conninfo_to_dict(url)["dbname"]), "test")

    return make


def folder_of(root: Path, files: dict[str, str]) -> MigrationFolder:
    write_files(root, files)
    folder = read_folder(root)
    assert folder.findings == ()
    return folder


@dataclass(frozen=True, slots=True)
class Kind:
    """A migration that is to be broken, and what an unbroken run makes of the database."""

    name: str
    folder: MigrationFolder
    before: Picture
    after: Picture
    boundaries: int


@dataclass(frozen=True, slots=True)
class Broken:
    """One fault: how the run ended and what it left, and the same of the run behind it."""

    kind: Kind
    point: int
    ending: Ending
    left: Picture
    again: Ending
    finally_left: Picture

    @property
    def is_before(self) -> bool:
        """Say whether nothing is there, and the words say so."""
        told = re.search("not applied|rolled back|nothing of the file was kept", self.ending.words)
        is_there = self.left != self.kind.before
        return not is_there and self.ending.code in {FAILED, BUSY} and told is not None

    @property
    def is_after(self) -> bool:
        """Say whether all is there and recorded, and the run said so."""
        return self.left == self.kind.after and self.ending.code == 0

    @property
    def is_named(self) -> bool:
        """Say whether the error names the file and how far it came."""
        return (
            self.ending.code in {HALF_DONE, UNKNOWN}
            and "0002_kind" in self.ending.message
            and re.search(r"statements? (done: )?(at least )?\d", self.ending.words) is not None
        )

    @property
    def is_mended(self) -> bool:
        """Say whether the next run came to the end, with no step by hand."""
        return self.again.code == 0 and self.finally_left == self.kind.after

    def __str__(self) -> str:
        return (
            f"{self.kind.name}, boundary {self.point} of {self.kind.boundaries}: {self.ending}; "
            f"from before: {self.kind.before.differs_in(self.left)}; again: {self.again}; "
            f"from after: {self.kind.after.differs_in(self.finally_left)}"
        )


def unbroken(name: str, root: Path, settings: Settings, clone: Clone) -> Kind:
    """Run a kind with no fault: what it makes, and how many boundaries it passes."""
    folder = folder_of(root / name.replace(" ", "_"), files_of(name))
    with clone() as target:
        before = picture_of(target)
        arm(target, 0)
        ending = run(target, folder, settings)
        assert ending.code == 0, f"{name}: {ending.words}"
        after = picture_of(target)
        assert before != after
        return Kind(name, folder, before, after, passed(target))


def break_at(kind: Kind, point: int, settings: Settings, clone: Clone) -> Broken:
    """Run a kind, broken at one boundary, then once more without a fault."""
    with clone() as target:
        arm(target, point)
        ending = run(target, kind.folder, settings)
        assert passed(target) >= point, f"{kind.name}: boundary {point} was not reached"
        disarm(target)
        left = picture_of(target)
        again = run(target, kind.folder, settings)
        return Broken(kind, point, ending, left, again, picture_of(target))


def break_everywhere(
    names: Iterator[str], root: Path, settings: Settings, clone: Clone
) -> list[Broken]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kinds = pool.map(lambda name: unbroken(name, root, settings, clone), names)
        cases = [(kind, point) for kind in kinds for point in range(1, kind.boundaries + 1)]
        return list(
            pool.map(lambda case: break_at(case[0], case[1], settings, clone), drawn(cases))
        )


def test_a_transaction_that_is_broken_anywhere_is_before_or_after(
    tmp_path: Path, settings: Settings, clone: Clone
) -> None:
    found = break_everywhere(iter(TRANSACTIONAL), tmp_path, settings, clone)
    between = [str(each) for each in found if not (each.is_before or each.is_after)]
    stuck = [str(each) for each in found if not each.is_mended]
    total = len(found)
    print(
        f"backend terminated at every boundary of {len(TRANSACTIONAL)} transactional migrations: "
        f"before or after {total - len(between)} of {total}, between {len(between)} of {total}, "
        f"after on rerun {total - len(stuck)} of {total}"
    )
    assert not between + stuck, "\n".join(between + stuck)
    assert len(TRANSACTIONAL) >= 12
    # More than record and COMMIT, which every kind has.
    assert all(each.kind.boundaries > 3 for each in found)


def test_without_a_transaction_every_fault_stands_at_a_named_statement(
    tmp_path: Path, settings: Settings, clone: Clone
) -> None:
    found = break_everywhere(iter(NO_TRANSACTION), tmp_path, settings, clone)
    unnamed = [
        str(each) for each in found if not (each.is_named or each.is_before or each.is_after)
    ]
    stuck = [str(each) for each in found if not each.is_mended]
    total = len(found)
    print(
        f"backend terminated at every boundary of {len(NO_TRANSACTION)} no-transaction "
        f"migrations: unnamed {len(unnamed)} of {total}, "
        f"after on rerun {total - len(stuck)} of {total}"
    )
    assert not unnamed + stuck, "\n".join(unnamed + stuck)


# --- while it waits ---------------------------------------------------------------------------

# What somebody else's transaction does, so that the statement waits in the middle of its work.
READER = "select * from app.docs, app.events limit 1"
WRITER = "update app.docs set state = state where id = 1"
OLD_SNAPSHOT = "set transaction isolation level repeatable read; select 1"
WAITING = {
    "create, for writers": ("create index concurrently docs_state on app.docs (state)", WRITER),
    "create, for an old snapshot": (
        "create unique index concurrently docs_state on app.docs (state, id)",
        OLD_SNAPSHOT,
    ),
    "drop, for readers": ("drop index concurrently app.docs_title", READER),
    "reindex an index, for writers": ("reindex index concurrently app.docs_title", WRITER),
    "reindex an index, for an old snapshot": (
        "reindex index concurrently app.docs_title",
        OLD_SNAPSHOT,
    ),
    "reindex a table, for writers": ("reindex table concurrently app.docs", WRITER),
    "detach, for readers": (
        "alter table app.events detach partition app.events_2024 concurrently",
        READER,
    ),
}


def end_while_it_waits(
    target: Target, folder: MigrationFolder, settings: Settings, blocker: str
) -> Ending:
    """Run a file behind somebody's open transaction, and end its backend where it waits."""
    endings: list[Ending] = []
    with session(target) as other:
        other.execute(blocker.encode())
        runner = threading.Thread(target=lambda: endings.append(run(target, folder, settings)))
        runner.start()
        until(lambda: waiting(target), "the statement's wait")
        query(target, f"select pg_terminate_backend({waiting(target)})")
        # What it left may have to wait for the same transaction before it can be removed.
        other.rollback()
        runner.join(30)
        assert not runner.is_alive(), "the runner did not notice that its backend is gone"
    return endings[0]


def waiting(target: Target) -> int | None:
    pids = query(
        target,
        "select pid from pg_stat_activity where datname = current_database() "
        "and wait_event_type = 'Lock' and query like '%concurrently%' "
        "and application_name like 'headwater%'",
    )
    return pids[0][0] if pids else None


def test_a_concurrent_statement_that_is_ended_while_it_waits_is_finished_by_the_next_run(
    tmp_path: Path, settings: Settings, clone: Clone
) -> None:
    wrong = []
    for number, (name, (statement, blocker)) in enumerate(WAITING.items()):
        text = f"-- headwater: no-transaction\n{statement};\ninsert into app.log values ('then');\n"
        folder = folder_of(tmp_path / str(number), BASE | {"0002_kind.sql": text})
        with clone() as target:
            before = picture_of(target)
            assert run(target, folder, settings).code == 0
            kind = Kind(name, folder, before, picture_of(target), 1)
        with clone() as target:
            ending = end_while_it_waits(target, folder, settings, blocker)
            left = picture_of(target)
            again = run(target, folder, settings)
            broken = Broken(kind, 1, ending, left, again, picture_of(target))
        if not ((broken.is_named or broken.is_before) and broken.is_mended):
            wrong.append(str(broken))
    total = len(WAITING)
    print(
        f"ended while it waits, named and finished by the next run: {total - len(wrong)} of {total}"
    )
    assert not wrong, "\n".join(wrong)


# --- the connections beside it ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("transactional", "purpose"),
    [
        pytest.param(True, "lock", id="lock of a transaction"),
        pytest.param(True, "migrate", id="session of a transaction"),
        pytest.param(False, "lock", id="lock of a no-transaction file"),
        pytest.param(False, "migrate", id="session of a no-transaction file"),
        pytest.param(False, "journal", id="journal of a no-transaction file"),
    ],
)
def test_the_loss_of_any_connection_leaves_before_after_or_a_named_statement(
    tmp_path: Path, settings: Settings, clone: Clone, transactional: bool, purpose: str
) -> None:
    head = "" if transactional else "-- headwater: no-transaction\n"
    text = f"{head}insert into app.log values ('1'); select pg_sleep(0.5);" + (
        "insert into app.log values ('2');"
    )
    folder = folder_of(tmp_path / "f", BASE | {"0002_kind.sql": text})
    with clone() as target:
        before = picture_of(target)
        endings: list[Ending] = []
        runner = threading.Thread(target=lambda: endings.append(run(target, folder, settings)))
        runner.start()
        until(lambda: _sleeping(target), "the sleep")
        query(
            target,
            "select pg_terminate_backend(pid) from pg_stat_activity where "
            f"datname = current_database() and application_name = 'headwater {purpose}'",
        )
        runner.join(30)
        assert not runner.is_alive()
        left = picture_of(target)
        again = run(target, folder, settings)
        assert again.code == 0, again.words
        after = picture_of(target)
    assert value_of(after) == ("1", "2")
    broken = Broken(Kind("a file", folder, before, after, 1), 1, endings[0], left, again, after)
    assert broken.is_after or (broken.is_before if transactional else broken.is_named), str(broken)


def value_of(picture: Picture) -> tuple[str, ...]:
    return tuple(row[0].strip("()") for row in picture.rows["app.log"])


def _sleeping(target: Target) -> bool:
    return bool(
        value(
            target,
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and wait_event = 'PgSleep'",
        )
    )
