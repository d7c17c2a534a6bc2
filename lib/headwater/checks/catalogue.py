"""What the catalogue holds after the files that it did not hold before, and would be regretted.

One query (catalogue.sql) gives the facts of a database: an object, and what is questionable about
it. Only facts that are new are findings: an old table without a primary key is nobody's news.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

from psycopg import sql
from psycopg.rows import class_row

from headwater.checks.rules import BY_ID
from headwater.model import Finding, Severity
from headwater.postgres.connect import Connection
from headwater.postgres.translate import translated
from headwater.schema.pins import pin

# The server keeps the query with its plan as long as the session: to read and plan it takes longer
# than to run it. No file can know the name.
_NAME: Final = f"headwater_{secrets.token_hex(8)}"

# The joins stand in a good order; to look for a better one takes longer than all the rest.
_PLANNED_ONCE: Final = """
SELECT pg_catalog.set_config('join_collapse_limit', '1', true),
       pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true)
"""
_IS_KEPT: Final = "SELECT FROM pg_catalog.pg_prepared_statements WHERE name = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something questionable about an object: two are equal when rule and object are.

    Names are written as event triggers give them (`pg_event_trigger_ddl_commands`): `app.t`,
    `app.t.id`, `app.f(integer)`, `mine on app.t` for a policy, a trigger or a constraint.
    """

    rule: str
    object: str
    relation: str
    """The table, view or materialized view that it is about; empty for a function or a schema."""
    cause: str = field(default="", compare=False)
    """Another object whose change may have made it so: the table of a view, a second index."""
    words: str = field(compare=False)
    severity: Severity | None = field(default=None, compare=False)
    """Where it matters more, or less, than its rule says."""
    address: str = field(default="", compare=False)
    """Its number in the catalogue, which is the same whatever it is renamed to."""

    def __post_init__(self) -> None:
        """Take the word that the server gives for a severity."""
        if self.severity is not None:
            object.__setattr__(self, "severity", Severity(self.severity))

    @property
    def names(self) -> tuple[str, ...]:
        """Give the objects by which to look for the statement that is at fault, best first."""
        return tuple(dict.fromkeys(filter(None, (self.object, self.cause, self.relation))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where the statement stands that made a fact, up to its end; numbers count from 1."""

    file: str
    line: int = 0
    column: int = 0
    end: tuple[int, int] = (0, 0)
    source: str = ""


def catalogue_facts(
    connection: Connection, schemas: Sequence[str] | None = None
) -> frozenset[Fact]:
    """Ask what is questionable in some schemas (None: in all but the server's own).

    One query, inside the transaction that is open, if any; no setting and no lock is left of it,
    but the prepared statement, for the next time. Any role may ask. Members of extensions and
    temporary objects are left out. Raises what `translated` makes of a driver's error.
    """
    names = sql.Literal(None if schemas is None else list(schemas))
    with translated("looking at the catalogue"), connection.transaction(force_rollback=True):
        pin(connection)
        connection.execute(_PLANNED_ONCE)
        # A file may have taken it away: DISCARD ALL.
        if not connection.execute(_IS_KEPT, (_NAME,)).rowcount:
            connection.execute(_query())
        cursor = connection.cursor(row_factory=class_row(Fact))
        return frozenset(
            cursor.execute(
                sql.SQL("EXECUTE {} ({}::pg_catalog.text[])").format(sql.Identifier(_NAME), names)
            )
        )


@cache
def _query() -> bytes:
    """Give the statement that prepares the query."""
    query = files(__package__).joinpath("catalogue.sql").read_bytes()
    return b"PREPARE %s (pg_catalog.text[]) AS\n%s" % (_NAME.encode(), query)


def new_facts(before: Iterable[Fact], after: Iterable[Fact]) -> tuple[Fact, ...]:
    """Give the facts that were not there before, by object and rule.

    Nothing is new of an object that was renamed, nor of one that was made again under its name:
    ALTER TYPE makes the indexes and constraints of its column anew.
    """
    old = frozenset(before)
    addresses = {(fact.rule, fact.address) for fact in old}
    new = {fact for fact in after if fact not in old and (fact.rule, fact.address) not in addresses}
    return tuple(sorted(new, key=lambda fact: (fact.object, fact.rule)))


def new_findings(
    before: Iterable[Fact],
    after: Iterable[Fact],
    place_of: Callable[[Fact], Span],
    *,
    version: int | None = None,
) -> tuple[Finding, ...]:
    """Give a finding for each fact that was not there before, where its statement stands.

    `place_of` knows the statements: it tries the `names` of the fact in their order. `version` is
    the server's major version, for the safe form. Findings come in order of file and line.
    """
    found = [_finding(fact, place_of(fact), version=version) for fact in new_facts(before, after)]
    return tuple(sorted(found, key=lambda f: (f.file, f.line, f.column, f.rule, f.message)))


def _finding(fact: Fact, place: Span, *, version: int | None) -> Finding:
    return BY_ID[fact.rule].finding(
        file=place.file,
        line=place.line,
        column=place.column,
        end=place.end,
        source=place.source,
        message=fact.words,
        relation=fact.relation,
        version=version,
        severity=fact.severity,
    )
