"""The values that all parts of Headwater exchange: frozen, compared by content, driver-free.

What a file says (`Migration`) and what the database says (`Applied`) are different types; a
`Plan` is what follows from both. Problems are `Finding`s, and long work reports `Event`s. What else
tasks give back stands in `outcomes` and `verdicts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Severity(StrEnum):
    """How much a finding matters; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Give 0 for info, 1 for warning, 2 for error."""
        return list(Severity).index(self)


class Layer(StrEnum):
    """Which layer of lint found something: by reading, by running, by looking at what is there."""

    TEXT = "text"
    TRACE = "trace"
    CATALOGUE = "catalogue"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong, at a place, with advice. `line` and `column` count from 1; 0 is unknown.

    A finding of lint says more: where the statement ends (`end_column` is behind its last
    character), what was `measured`, `why` it matters, which page tells of its rule, which layer
    found it, and which relation (`kb.documents`) it is about, where it is about one.
    """

    rule: str
    message: str
    severity: Severity = Severity.ERROR
    file: str = ""
    line: int = 0
    column: int = 0
    hint: str = ""
    source: str = ""
    """The line of the file that it is about, when showing it helps."""
    end_line: int = 0
    end_column: int = 0
    why: str = ""
    measured: str = ""
    page: str = ""
    layer: Layer = Layer.TEXT
    relation: str = ""


# --- words ------------------------------------------------------------------------------------


def plural(count: int, word: str) -> str:
    """Give `1 file`, `2 files`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


# Of a longer line only what stands around the place is shown: a dump may hold megabytes in one.
_SHOWN_BEFORE, _SHOWN_BEHIND = 80, 80


def around(source: str, column: int) -> tuple[str, int]:
    """Give what to show of a line, and the column in that: all of it, or a part with dots."""
    start = max(column - 1 - _SHOWN_BEFORE, 0)
    end = max(column - 1, 0) + _SHOWN_BEHIND
    before, behind = "… " if start else "", " …" if end < len(source) else ""
    if not before and not behind:
        return source, column
    return f"{before}{source[start:end]}{behind}", column - start + len(before)


def caret(source: str, column: int) -> str:
    """Give the line to draw below a line, with a caret under a column.

    Tabs stay tabs, so that the caret stands where the terminal puts the character.
    """
    return "".join("\t" if c == "\t" else " " for c in source[: column - 1]) + "^"


# --- files ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One `-- headwater: name value` comment; `line` counts from 1."""

    name: str
    value: str
    line: int


# Each run makes thousands of Migration, Applied and Entry: a named tuple takes at most half the
# time of a frozen dataclass.


class Migration(NamedTuple):
    """One file `migrations/VERSION.sql`, as it is hashed and as it is run.

    `text` is normalised (no byte-order mark, LF line ends); `checksum` is of exactly that text.
    """

    version: str
    text: str
    checksum: str
    directives: tuple[Directive, ...] = ()
    verify: str | None = None
    """The text of `VERSION.verify.sql`: its post-condition."""
    down: str | None = None
    """The text of `VERSION.down.sql`: what undoes it."""
    undoes: str = ""
    """Of a down file that is to be run: the version whose row in history goes with it."""

    def __repr__(self) -> str:
        # Not the texts: they are long, and may hold what nobody is to read in a log.
        return f"{type(self).__name__}(version={self.version!r}, checksum={self.checksum!r})"

    @property
    def transactional(self) -> bool:
        """Say whether the file runs in one transaction (no `no-transaction` directive)."""
        return all(directive.name != "no-transaction" for directive in self.directives)

    @property
    def prefix(self) -> str:
        """Give the part of the name that orders it: `0001` or a date `YYYYMMDD`."""
        return self.version.partition("_")[0]

    @property
    def description(self) -> str:
        """Give the part of the name behind the prefix."""
        return self.version.partition("_")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlFile:
    """A file beside the migrations that is run as it is, such as `checks/*.sql`."""

    path: Path
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFolder:
    """Everything that was read from the folder: what can be run, and all that is wrong."""

    path: Path
    migrations: tuple[Migration, ...]
    checks: tuple[SqlFile, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """One file of the folder of seeds, as it is hashed and as it is run: SQL, or Python."""

    name: str
    """With what it ends in: `10_people.sql`, `20_graph.py`."""
    text: str = field(repr=False)

    @property
    def is_python(self) -> bool:
        """Say whether it is a Python file, with a function `seed`."""
        return self.name.endswith(".py")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFolder:
    """Everything that was read from the folder of seeds: what can be run, and all that is wrong."""

    path: Path
    seeds: tuple[Seed, ...] = ()
    """In the order in which they run."""
    helpers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The modules that Python seeds may import (`_people` -> text)."""
    checksum: str = ""
    """Of all that the rows follow from; empty where there are no seeds."""
    findings: tuple[Finding, ...] = ()

    def shown(self, name: str) -> str:
        """Give a file's name as messages have it: `seeds/10_people.sql`."""
        return f"{self.path.name}/{name}"


# --- history and plan -------------------------------------------------------------------------


class How(StrEnum):
    """How a version came into history."""

    RUN = "run"
    MARKED = "marked"
    BASELINE = "baseline"


class Applied(NamedTuple):
    """One row of history; its fields are the columns."""

    version: str
    checksum: str
    tokens: str | None = None
    applied_at: datetime | None = None
    applied_by: str | None = None
    duration_ms: int | None = None
    out_of_order: bool = False
    how: str = How.RUN
    fingerprint: str | None = None


class State(StrEnum):
    """How a version stands: in the files, in history, or in both."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"
    UNKNOWN_RULE = "unknown rule"
    MISSING = "missing"
    RENAMED = "renamed"
    OUT_OF_ORDER = "out of order"
    HALF_DONE = "half done"
    HALF_UNDONE = "half undone"
    NEWER = "unknown, newer"


class Entry(NamedTuple):
    """One version with its state; `migration` or `applied` is None where that side lacks it."""

    version: str
    state: State
    migration: Migration | None = None
    applied: Applied | None = None


class Schema(StrEnum):
    """Whether the schema is as the last run left it, by its fingerprint."""

    AS_MIGRATED = "as migrated"
    TOUCHED = "touched"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `migrate` would do: the files to run in order, every version, all problems."""

    steps: tuple[Migration, ...]
    entries: tuple[Entry, ...]
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences about what could not be looked at, and about the connection."""
    schema: Schema = Schema.UNKNOWN
    """Only `status` looks."""

    @property
    def applied(self) -> tuple[Applied, ...]:
        """Give the rows of history, in order of version."""
        return tuple(entry.applied for entry in self.entries if entry.applied)

    @property
    def agrees(self) -> bool:
        """Say whether all is applied, history agrees, and nobody is known to touch the schema."""
        return not (self.steps or self.problems or self.schema is Schema.TOUCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationResult:
    """One migration that was applied. `duration_ms` is the server's; `statements` were run."""

    version: str
    duration_ms: int
    statements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A pending file as a dry run shows it: the text that would run, and what must hold after."""

    version: str
    sql: str = field(repr=False)
    transactional: bool
    post_conditions: tuple[str, ...] = ()
    """The sentences of `VERSION.verify.sql`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What `migrate` did: the plan it followed, and a result for each file that was applied."""

    plan: Plan
    results: tuple[MigrationResult, ...] = ()
    dry_run: bool = False
    previews: tuple[Preview, ...] = ()
    """What a dry run would apply, in order."""


# --- the target -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The database a task works on. The password is in `conninfo` alone, which is never shown."""

    host: str
    port: str
    database: str
    user: str
    source: str
    """Where the choice came from: `DATABASE_URL in .env`, `private server` …"""
    conninfo: str = field(repr=False)
    private: bool = False
    """True for the private server and its databases: opened without libpq's variables."""

    def __str__(self) -> str:
        place = f"{self.user}@{self.host}:{self.port}" if self.user else f"{self.host}:{self.port}"
        return f"{self.database} at {place} ({self.source})"


# --- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A migration, or a seed, is about to run; `index` counts from 1 up to `total`."""

    version: str
    index: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A migration ran: it is applied, or will be with the commit of an atomic reset."""

    result: MigrationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence for the person who watches: waiting for a lock, starting a server."""

    message: str


Event = Started | Finished | Said
Notify = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Take an event and do nothing: the default for `notify=`."""
