"""The values of verify, lint and the repair of history: what was proved, what differs.

Apart from `model`, because most runs have no use for them, and making a class takes its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from headwater.model import Finding, Migrated, Severity, State
from headwater.outcomes import LockMode, TableLock

# --- schema -----------------------------------------------------------------------------------


class ChangeKind(StrEnum):
    """What is different about an object: seen from the files."""

    MISSING = "missing"
    """The files build it, the database lacks it."""
    EXTRA = "extra"
    """The database has it, the files do not build it."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between a database and what the files build.

    `object` is its identity for people (`column kb.documents.status`); `attribute` what differs
    (empty when the object as a whole is missing or extra); `before` is what the files build,
    `after` what the database has.
    """

    object: str
    change: ChangeKind
    attribute: str = ""
    before: str | None = None
    after: str | None = None


class Verdict(Protocol):
    """What ends a task with an exit code of its own."""

    @property
    def exit_code(self) -> int:
        """Give 0 when all is as it should be."""


# --- blame and bisect -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An object that a migration made or dropped: identity, kind, and what it is a part of."""

    object: str
    kind: str
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one migration did to the schema: parts of objects are listed like the whole."""

    version: str
    made: tuple[Thing, ...]
    gone: tuple[Thing, ...]
    changed: tuple[Change, ...]


class Happened(StrEnum):
    """What a migration did to an object."""

    CREATED = "created"
    CHANGED = "changed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment in the history of an object; `within` is what it was created with."""

    version: str
    object: str
    happened: Happened
    within: str = ""
    attribute: str = ""
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """The history of the objects that a pattern means; `close` are names that look like it."""

    pattern: str
    moments: tuple[Moment, ...]
    close: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Give 1 when there never was such an object, else 0."""
        return int(not self.moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query said: true, false, or neither, in words."""

    value: bool | None = None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a query said behind a migration; the version is empty before the first."""

    version: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisected:
    """The answers of a query up to the first that is false after a true one, or to the last."""

    query: str
    asked: tuple[Asked, ...]

    @property
    def culprit(self) -> Asked | None:
        """Give the first that is false after it was true, if any."""
        last = self.asked[-1] if self.asked else None
        return last if last and last.answer.value is False and self.was_true else None

    @property
    def was_true(self) -> bool:
        """Say whether it ever was."""
        return any(asked.answer.value is True for asked in self.asked)

    @property
    def exit_code(self) -> int:
        """Give 1 when the query becomes false, or never was true, else 0."""
        return int(self.culprit is not None or not self.was_true)


# --- verify -----------------------------------------------------------------------------------


class Outcome(StrEnum):
    """How one line of a report ended."""

    OK = "ok"
    FOUND = "found"
    FAILED = "failed"
    SKIPPED = "skipped"
    IMPOSSIBLE = "not possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """One line of a report: what was looked at, how it ended, what was found."""

    name: str
    outcome: Outcome
    summary: str
    findings: tuple[Finding, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Statements that would take the files to the database, and changes that have none."""

    statements: tuple[str, ...]
    cannot: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The whole report of `verify`, one line for each thing that was proved or not."""

    lines: tuple[CheckLine, ...]
    draft: Draft | None = None
    """What would keep the drift, when somebody asked for it."""

    @property
    def exit_code(self) -> int:
        """Give 1 when something was found, else 2 when something was not possible, else 0."""
        outcomes = {line.outcome for line in self.lines}
        if outcomes & {Outcome.FOUND, Outcome.FAILED}:
            return 1
        return 2 if Outcome.IMPOSSIBLE in outcomes else 0


# --- lint -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one statement did to one relation that was there before its file.

    `lock` is the strongest that the statement took anew; `target` says that the statement is about
    this relation, and did not reach it by a reference or a cascade.
    """

    relation: str
    kind: str
    """In words: `table`, `materialized view` …"""
    lock: LockMode | None = None
    target: bool = True
    rewrite: str = ""
    """Why it was written anew (`column type`, `default` …); empty where it was not."""
    scans: int = 0
    """How often all of it was read."""
    builds: tuple[str, ...] = ()
    """The indexes of it that were built, or built anew."""
    rows: int = 0
    """How many rows were inserted, updated or deleted."""

    @property
    def works(self) -> bool:
        """Say whether the time that it takes grows with the table (that of rows with the rows)."""
        return bool(self.rewrite or self.scans or self.builds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """An object that a statement dropped; `cascade` says that the statement did not name it."""

    kind: str
    identity: str
    cascade: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedAction:
    """What one action of an ALTER TABLE does by itself; line and column of its begin and end."""

    begin: tuple[int, int]
    end: tuple[int, int]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStatement:
    """What running one statement on a scratch database has shown; `number` counts from 1."""

    number: int
    line: int
    column: int = 1
    text: str
    """On one line, cut where it is long."""
    effects: tuple[Effect, ...] = ()
    gone: tuple[Gone, ...] = ()
    hidden: tuple[str, ...] = ()
    """What a DO block or a function did (`ALTER TABLE kb.tags`), and the text does not say."""
    actions: tuple[TracedAction, ...] = ()
    """Of an ALTER TABLE that has several; none where they do not work one by one."""
    made: tuple[str, ...] = ()
    """Identities of what it made or changed, as the server writes them."""
    settings: tuple[str, ...] = ()
    """Settings of the session that it left changed."""
    held: tuple[TableLock, ...] = ()
    """What others wait for meanwhile, locked by what ran before it in the same transaction."""
    skipped: str = ""
    """Why it was not run."""
    locks_known: bool = True
    """False of what runs outside a transaction and names no table: nobody can look meanwhile."""

    def effects_at(self, place: tuple[int, int]) -> tuple[Effect, ...]:
        """Give the effects of the action of an ALTER TABLE at a line and column; else all."""
        for action in self.actions:
            if action.begin <= place < action.end:
                return action.effects
        return self.effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What running one file has shown, statement by statement.

    `unfinished` names constraints that were left NOT VALID and indexes that were left invalid;
    `notes` say which signals there were not; `error` why the file does not run.
    """

    version: str
    transactional: bool
    statements: tuple[TracedStatement, ...] = ()
    unfinished: tuple[str, ...] = ()
    unfinished_then: tuple[str, ...] = ()
    """All that is unfinished behind the file, whoever left it so."""
    changes: tuple[Change, ...] = ()
    """What the file did to the schema."""
    notes: tuple[str, ...] = ()
    error: str = ""


WORK_BYTES_PER_SECOND: Final = 60_000_000
"""How much of a table a server reads, or writes anew, in a second.

Of a middling cloud disk; a guess that is said to be one (`about 12 min`), good for the size of a
number and no more.
"""

# A table with less than both is worked on before anybody notices that it is locked.
SMALL_ROWS: Final = 10_000
SMALL_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """How much there is of a table: rows as the planner knows them, bytes, writes since then."""

    rows: int
    heap_bytes: int
    index_bytes: int
    writes: int = 0
    """Rows inserted, updated and deleted since the server began to count."""
    estimated: bool = False
    """True where nobody has ever analysed the table: `rows` follows from its size then."""

    @property
    def bytes(self) -> int:
        """Give the size of the table with its indexes."""
        return self.heap_bytes + self.index_bytes

    @property
    def small(self) -> bool:
        """Say whether any work on it is over in a moment."""
        return self.rows < SMALL_ROWS and self.bytes < SMALL_BYTES

    def seconds(self, effect: Effect) -> float:
        """Estimate how long the work of a statement takes on a table of this weight.

        A rewrite makes the table and its indexes anew; a scan reads the table, and so does the
        build of an index. Rows that a statement changes are those of the scratch database: what
        they take here is not known, and counts nothing.
        """
        if effect.rewrite:
            return self.bytes / WORK_BYTES_PER_SECOND
        scans = max(effect.scans, len(effect.builds))
        return scans * self.heap_bytes / WORK_BYTES_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What was measured of the tables of a database (`kb.documents` -> weight), and when."""

    tables: Mapping[str, Weight]
    source: str
    """Which database, or which file of statistics."""
    version: int
    """The major version of its server."""
    counted_s: float | None = None
    """For how many seconds writes were counted; None where the server does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """What lint found in how many files; `notes` say what could not be looked at."""

    findings: tuple[Finding, ...]
    files: int
    notes: tuple[str, ...] = ()
    traces: tuple[Traced, ...] = ()
    weights: Weights | None = None

    def exit_code(self, fail_on: Severity) -> int:
        """Give 1 when a finding is at or above a severity, else 0."""
        return int(any(finding.severity.rank >= fail_on.rank for finding in self.findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a dry run would apply, and what that would do; `notes` say what is not known."""

    migrated: Migrated
    traces: tuple[Traced, ...] = ()
    weights: Weights | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedFile:
    """A file of the folder as a fix writes it: `20260101_add_status.sql`, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixes:
    """The safe sequence of pending files: texts to replace, files to add.

    `left` says which statements are left as they are, and why.
    """

    replaced: tuple[FixedFile, ...] = ()
    added: tuple[FixedFile, ...] = ()
    left: tuple[Finding, ...] = ()

    @property
    def changes(self) -> bool:
        """Say whether anything would be written."""
        return bool(self.replaced or self.added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What `lint --fix` did; `proof` compares what the files build, before and after."""

    fixes: Fixes
    proof: CheckLine | None = None
    """None where there was nothing to prove."""

    @property
    def written(self) -> bool:
        """Say whether the files were written: only what is proved is."""
        return self.proof is not None and self.proof.outcome is Outcome.OK

    @property
    def exit_code(self) -> int:
        """Give 1 when a fix was not proved to be right, else 0."""
        return int(self.proof is not None and not self.written)


# --- history ----------------------------------------------------------------------------------


class Repair(StrEnum):
    """What a repair found, and did."""

    NOTHING = "nothing to repair"
    COSMETIC = "comments and blanks only"
    RENAMED = "renamed"
    SAME_SCHEMA = "same schema"
    ANOTHER_SCHEMA = "another schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What `history.repair` did about one version; `proof` is the rebuild, where it took one."""

    version: str
    repair: Repair
    now: str
    """The version that history knows it by from now on."""
    proof: CheckLine | None = None

    @property
    def changed(self) -> bool:
        """Say whether history was changed."""
        return self.repair not in (Repair.NOTHING, Repair.ANOTHER_SCHEMA)

    @property
    def exit_code(self) -> int:
        """Give 1 when the repair was not proved to be right, else 0."""
        return int(self.repair is Repair.ANOTHER_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The version that `history.mark` recorded, and how it stood before."""

    version: str
    was: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselined:
    """What `history.baseline` recorded, after the proof; `kept` are rows of an older table."""

    version: str
    recorded: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    proof: CheckLine | None = None

    @property
    def exit_code(self) -> int:
        """Give 1 when the database is not what the files build, else 0."""
        return int(self.proof is not None and self.proof.outcome is not Outcome.OK)
