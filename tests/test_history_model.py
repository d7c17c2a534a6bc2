"""Files that change between runs, in any order: status tells the truth, and nothing runs twice.

A model in a few lines (names and texts in the folder; rows of history; how often each name ran)
is led beside the real thing, on a real database. hypothesis invents the order of events.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from headwater.checks.takeover import repair
from headwater.errors import HeadwaterError, HistoryError, MigrationFailed
from headwater.files.read import read_folder
from headwater.model import State, Target
from headwater.postgres.bookkeeping import mark
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, status
from headwater.settings import Settings
from headwater.verdicts import Repair
from tests.faults.stride import STRIDE, share

# Outside the managed schema, so that a reset does not wipe what ran: name -> how often.
RAN = "create table public.ran (name text); create schema app"
TEXT = """\
create schema if not exists app;
do $$ begin
    if to_regclass('public.ran') is not null then  -- not so in a scratch database
        insert into public.ran values ('{body}');
    end if;
end $$;
"""


@dataclass(frozen=True, slots=True)
class File:
    """What a file means (`body`), and its dress: comments, line ends. Only the first must stay."""

    body: str
    comment: str = ""
    crlf: bool = False

    @property
    def normal(self) -> str:
        """Give the text whose checksum counts."""
        return self.comment + TEXT.format(body=self.body)

    @property
    def raw(self) -> bytes:
        """Give the bytes on the disk."""
        text = self.normal.replace("\n", "\r\n") if self.crlf else self.normal
        return text.encode()


_place: tuple[Target, Settings] | None = None
_seen = Counter[str]()


# What happens, as often as it stands here.
EVENTS = (
    *("new_file", "edit_a_comment", "edit_what_it_does", "flip_line_ends", "rename", "delete"),
    *("migrate", "migrate_out_of_order", "migrate_with_a_fault", "mark", "reset"),
    *("migrate", "repair", "repair", "repair", "repair"),
)


class Histories(RuleBasedStateMachine):
    """One project over time."""

    def __init__(self) -> None:
        super().__init__()
        assert _place is not None
        self.target, self.settings = _place
        self.folder: Path = self.settings.migrations
        self.files = dict[str, File]()
        self.rows = dict[str, File]()
        self.ran = Counter[str]()
        self.number = 0
        self.connection = psycopg.connect(self.target.conninfo, autocommit=True)

    @initialize()
    def begin(self) -> None:
        """Begin with an empty database and three files, applied: most stories begin behind that."""
        for path in self.folder.glob("*.sql"):
            path.unlink()
        self.connection.execute(
            "drop schema if exists app cascade; drop table if exists public.ran, "
            "public.schema_migrations, public.schema_migrations_steps"
        )
        self.connection.execute(RAN)
        for date in ("20240102", "20240104", "20240106"):
            self._new(date)
        self._migrate(frozenset())

    def teardown(self) -> None:
        """Close what is open."""
        self.connection.close()

    # One rule for all: hypothesis would leave most of many rules out of most stories.
    @rule(event=st.sampled_from(EVENTS), pick=st.randoms(use_true_random=False))
    def something_happens(self, event: str, pick: random.Random) -> None:
        """Let something happen, where it can: to a file that is there, to a row of history."""
        if (self.rows if event == "repair" else self.files) or event == "new_file":
            getattr(self, event)(pick)

    # --- what happens to files ----------------------------------------------------------------

    def _new(self, date: str) -> None:
        self.number += 1
        self._write(f"{date}_n{self.number}", File(body=f"b{self.number}"))

    def _write(self, name: str, file: File) -> None:
        self.files[name] = file
        (self.folder / f"{name}.sql").write_bytes(file.raw)

    def _change(self, pick: random.Random, change: Callable[[File], File]) -> None:
        name = pick.choice(sorted(self.files))
        self._write(name, change(self.files[name]))

    def new_file(self, pick: random.Random) -> None:
        """Write a file: a newer one, or an older one that was merged late."""
        self._new(f"2024010{pick.randint(1, 9)}")

    def edit_a_comment(self, pick: random.Random) -> None:
        """Edit nothing that the server would see."""
        self._change(pick, lambda f: File(f.body, f"{f.comment}-- why\n", f.crlf))

    def edit_what_it_does(self, pick: random.Random) -> None:
        """Edit what the file does, to the data alone: the schema stays what it is."""
        self._change(pick, lambda f: File(f"{f.body}x", f.comment, f.crlf))

    def flip_line_ends(self, pick: random.Random) -> None:
        """Check the file out on another system."""
        self._change(pick, lambda f: File(f.body, f.comment, not f.crlf))

    def rename(self, pick: random.Random) -> None:
        """Give a file another description."""
        old = pick.choice(sorted(self.files))
        self.number += 1
        (self.folder / f"{old}.sql").unlink()
        self._write(f"{old.partition('_')[0]}_n{self.number}", self.files.pop(old))

    def delete(self, pick: random.Random) -> None:
        """Delete a file, but not the last one: an empty folder is another story."""
        if len(self.files) == 1:
            return
        name = pick.choice(sorted(self.files))
        del self.files[name]
        (self.folder / f"{name}.sql").unlink()

    # --- what is done with them ---------------------------------------------------------------

    def migrate(self, _pick: random.Random) -> None:
        """Apply what is pending, or be refused without running anything."""
        self._migrate(frozenset())

    def migrate_out_of_order(self, _pick: random.Random) -> None:
        """Apply what is pending, the late ones too."""
        late = {n for n, s in self.states().items() if s is State.OUT_OF_ORDER}
        self._migrate(frozenset(late))

    def _migrate(self, late: frozenset[str]) -> None:
        states = self.states(allowed=late)
        stops = any(s not in (State.APPLIED, State.PENDING) for s in states.values())
        pending = [name for name in sorted(self.files) if name not in self.rows]
        folder = read_folder(self.folder)
        if stops:
            with pytest.raises(HistoryError):
                migrate(self.target, folder, self.settings, out_of_order=late)
            _seen["refused"] += 1
            return
        done = migrate(self.target, folder, self.settings, out_of_order=late)
        assert [result.version for result in done.results] == pending
        self._applied(pending)
        _seen["migrated"] += bool(pending)

    def _applied(self, names: list[str]) -> None:
        for name in names:
            self.rows[name] = self.files[name]
            self.ran[self.files[name].body] += 1

    def migrate_with_a_fault(self, _pick: random.Random) -> None:
        """Let the last pending file, a new one, fail: those before it stay, and it never was."""
        self._new("20240109")
        states = self.states()
        pending = [name for name in sorted(self.files) if name not in self.rows]
        stops = any(s not in (State.APPLIED, State.PENDING) for s in states.values())
        if stops:
            return
        last = pending[-1]
        sound = (self.folder / f"{last}.sql").read_bytes()
        (self.folder / f"{last}.sql").write_bytes(sound + b"select 1/0;\n")
        try:
            with pytest.raises(MigrationFailed):
                migrate(self.target, read_folder(self.folder), self.settings)
        finally:
            (self.folder / f"{last}.sql").write_bytes(sound)
        self._applied(pending[:-1])
        _seen["failed"] += 1

    def mark(self, pick: random.Random) -> None:
        """Record a file without running it, where it is pending and no renamed one."""
        pending = sorted(set(self.files) - set(self.rows))
        name = pick.choice(pending or sorted(self.files))
        state = self.states()[name]
        renamed = any(self.same_text(name, row) for row in self.rows if row not in self.files)
        folder = read_folder(self.folder)
        if state in (State.PENDING, State.OUT_OF_ORDER) and not renamed:
            mark(self.target, folder, self.settings, name)
            self.rows[name] = self.files[name]
            _seen["marked"] += 1
        else:
            with pytest.raises(HistoryError):
                mark(self.target, folder, self.settings, name)

    def repair(self, pick: random.Random) -> None:
        """Repair a version: an edit, a renamed file, or be refused without a change."""
        states = self.states()
        edited = [row for row in sorted(self.rows) if states[row] is State.EDITED]
        sick = [row for row in sorted(self.rows) if states[row] is not State.APPLIED]
        name = pick.choice(pick.choice([edited, sick]) or sick or sorted(self.rows))
        state = states[name]
        heirs = [n for n in self.files if n not in self.rows and self.same_text(n, name)]
        without_file = [n for n in self.rows if n not in self.files]
        folder = read_folder(self.folder)

        def repaired() -> Repair:
            return repair(self.target, folder, self.settings, name).repair

        cosmetic = state is State.EDITED and self.files[name].body == self.rows[name].body
        if state is State.APPLIED:
            assert repaired() is Repair.NOTHING
        elif cosmetic or (state is State.EDITED and not without_file):
            # What files do to data is no part of the schema, so a real edit is proved right here.
            assert repaired() is (Repair.COSMETIC if cosmetic else Repair.SAME_SCHEMA)
            self.rows[name] = self.files[name]
            _seen["repaired"] += 1
        elif state is State.RENAMED and len(heirs) == 1:
            assert repaired() is Repair.RENAMED
            self.rows[heirs[0]] = self.rows.pop(name)
            _seen["renamed"] += 1
        else:
            with pytest.raises(HeadwaterError):
                repaired()

    def reset(self, _pick: random.Random) -> None:
        """Build everything anew."""
        reset(self.target, read_folder(self.folder), self.settings)
        self.rows = {}
        self._applied(sorted(self.files))
        _seen["reset"] += 1

    # --- what is always so --------------------------------------------------------------------

    def same_text(self, file: str, row: str) -> bool:
        """Say whether a file holds what a row was recorded from."""
        return self.files[file].normal == self.rows[row].normal

    def states(self, allowed: frozenset[str] = frozenset()) -> dict[str, State]:
        """Give the state of every version, as the model has it."""
        newest = max((name[:8] for name in self.rows), default="")
        newest_file = max((name[:8] for name in self.files), default="")
        states = dict[str, State]()
        for name in self.files:
            if name in self.rows:
                same = self.same_text(name, name)
                states[name] = State.APPLIED if same else State.EDITED
            else:
                late = name[:8] < newest and name not in allowed
                states[name] = State.OUT_OF_ORDER if late else State.PENDING
        for row in set(self.rows) - set(self.files):
            if any(self.same_text(n, row) for n in self.files if n not in self.rows):
                states[row] = State.RENAMED
            else:
                states[row] = State.NEWER if row[:8] > newest_file else State.MISSING
        return states

    @invariant()
    def status_tells_the_truth(self) -> None:
        """Require that status gives each version the state that the model has."""
        plan = status(self.target, read_folder(self.folder), self.settings)
        assert {entry.version: entry.state for entry in plan.entries} == self.states()
        for name, state in self.states().items():
            _seen[state] += 1
            told = [p for p in plan.problems if p.file == f"{name}.sql"]
            assert bool(told) == (state not in (State.APPLIED, State.PENDING))

    @invariant()
    def what_ran_is_what_was_to_run(self) -> None:
        """Require that each body ran as often as the model has it: never twice by accident."""
        rows = self.connection.execute("select name, count(*) from public.ran group by 1")
        assert dict(rows.fetchall()) == dict(self.ran)


@contextmanager
def placed(target: Target, settings: Settings) -> Generator[None]:
    global _place  # noqa: PLW0603 - hypothesis makes the machines itself
    _place = target, settings
    _seen.clear()
    try:
        yield
    finally:
        _place = None


@pytest.mark.slow
def test_whatever_happens_to_files_status_tells_it_and_nothing_runs_that_must_not(
    target: Target, settings: Settings
) -> None:
    with placed(target, settings):
        run_state_machine_as_test(
            Histories,
            settings=hypothesis_settings(
                max_examples=share(35, at_least=4),
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print("\n" + ", ".join(f"{what} {count}" for what, count in sorted(_seen.items())))
    # A model that never came there has shown nothing of it.
    states = set(State) - {State.HALF_DONE, State.UNKNOWN_RULE}
    events = {"refused", "migrated", "failed", "marked", "repaired", "renamed", "reset"}
    wanted = {str(what) for what in states | events}
    seen = {str(what) for what, count in _seen.items() if count}
    print(f"states and events seen: {len(wanted & seen)} of {len(wanted)}")
    assert STRIDE > 1 or wanted <= seen
