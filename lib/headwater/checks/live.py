"""The live layer of lint: how large the tables of a target are, and what its rows would refuse.

Nothing but SELECTs, in transactions that may only read: it works on a standby, and with a role that
may only read. What such a role cannot see is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headwater import amounts
from headwater.checks.preflight import preflight
from headwater.checks.rules.live import INVALID_INDEX_THERE, LONG_TRANSACTION, SEQUENCE_NEAR_END
from headwater.checks.rules.rule import Rule
from headwater.errors import LockBusy
from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement
from headwater.files.locks import locks_of_statement
from headwater.files.text import line_at, place
from headwater.model import Finding, Notify, Said, Target, ignore
from headwater.outcomes import LockMode
from headwater.postgres.asked_tables import Table, tables_named
from headwater.postgres.connect import Connection, connect
from headwater.postgres.traffic import holders, invalid_indexes, sequences_near_end
from headwater.postgres.translate import translated
from headwater.postgres.weighing import read_weights
from headwater.settings import Settings
from headwater.verdicts import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What the target has shown; `notes` say what could not be asked."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    weights: Weights | None
    """None when they were not to be had."""


def look_at_live(
    target: Target, accepted: Sequence[Accepted], settings: Settings, *, notify: Notify = ignore
) -> Live:
    """Weigh the tables of the target, and ask it about pending files, in the order of their run.

    In order: sizes; open transactions, sequences and indexes of the tables that the files lock;
    the rows. The size of a table that somebody has locked cannot be had: a note says so. Raises
    Unreachable.
    """
    notes = list[str]()
    with connect(target, purpose="lint", impatient=True) as connection:
        notify(Said(message="weighing the tables of the target"))
        weights = _weights(connection, settings, notes)
        there = tuple(_of_now(connection, accepted, settings))
        asked = preflight(connection, accepted, notify=notify)
    return Live(findings=(*there, *asked.findings), notes=(*notes, *asked.notes), weights=weights)


def _weights(connection: Connection, settings: Settings, notes: list[str]) -> Weights | None:
    try:
        return read_weights(connection, settings.schemas)
    except LockBusy as error:
        notes.append(f"the sizes of the tables are not known: {error.message}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """The first statement that takes the strongest lock on a table that is there."""

    table: Table
    mode: LockMode
    file: Accepted
    statement: Statement

    def finding(self, rule: Rule, message: str) -> Finding:
        """Give a finding of a rule at the statement."""
        text = self.file.script.text
        return rule.finding(
            file=f"{self.file.migration.version}.sql",
            line=self.statement.line,
            column=self.statement.column,
            end=place(text, self.statement.start + len(self.statement.text)),
            source=line_at(text, self.statement.line),
            message=message,
            relation=str(self.table),
        )


def _of_now(
    connection: Connection, accepted: Sequence[Accepted], settings: Settings
) -> Iterator[Finding]:
    """Give what is told of the tables that files lock: as their text says, not by cascades."""
    first = _locked(connection, accepted)
    locks = {oid: one.mode for oid, one in first.items()}
    patience_s = settings.lock_timeout_ms / 1000
    for holder in holders(connection, locks, longer_than_s=patience_s):
        yield first[holder.table].finding(
            LONG_TRANSACTION,
            f"{first[holder.table].table} is locked ({holder.mode}) by {holder.who}, in a "
            f"transaction that has been open for {amounts.in_time(holder.seconds)}",
        )
    for sequence in sequences_near_end(connection, locks):
        yield first[sequence.table].finding(
            SEQUENCE_NEAR_END,
            f"{sequence.percent:.0f} percent of {sequence.sequence} are used, "
            f"for {first[sequence.table].table}.{sequence.column}",
        )
    for index in invalid_indexes(connection, locks):
        yield first[index.table].finding(
            INVALID_INDEX_THERE, f"the index {index.index} is invalid: a build of it has failed"
        )


def _locked(connection: Connection, accepted: Sequence[Accepted]) -> dict[int, _First]:
    """Give each table that files lock, with the statement that does so most strongly."""
    wanted = [
        (named, mode, file, statement)
        for file in accepted
        for statement in file.script.statements
        for named, mode in locks_of_statement(statement)
    ]
    connection.read_only = True
    with translated("looking up the tables"):
        tables = tables_named(connection, [named for named, *_ in wanted])
    first = dict[int, _First]()
    for named, mode, file, statement in wanted:
        table = tables.get(named)
        if table is None:
            continue
        known = first.get(table.oid)
        if known is None or mode.rank > known.mode.rank:
            first[table.oid] = _First(table=table, mode=mode, file=file, statement=statement)
    return first
