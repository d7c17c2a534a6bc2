"""Preflight: the rows of the target are asked what would fail, before anything runs.

For each pending statement, in order: what it demands of rows (`files.demands`), the questions that
this makes (`postgres.questions`), an answer to each (`postgres.asking`). Only what earlier pending
statements leave as it is can be asked; what cannot be asked is a note.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from headwater.checks.pending_changes import PendingChanges
from headwater.checks.rules.live import LIVE
from headwater.files.accepted import Accepted
from headwater.files.demands import Bounded, Demand, Known, OfDomain, Validated, demands_of
from headwater.files.grammar import NotParsed, Statement
from headwater.files.locks import Named, locks_of
from headwater.files.text import line_at, place
from headwater.model import Finding, Notify, Said, Severity, ignore, plural
from headwater.postgres.asked_tables import Lookup
from headwater.postgres.asking import MOST, Answer, ask, example, questions_of, volatile_among
from headwater.postgres.connect import Connection
from headwater.postgres.questions import Question
from headwater.postgres.translate import translated

# A question reads a whole table at worst: long enough for some gigabytes in memory, short enough
# for a server that has other work. All questions together end soon enough for a run of CI.
PATIENCE_MS = 5_000
TOGETHER_S = 60.0

_RULES = {rule.id: rule for rule in LIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What would fail, and notes about what could not be asked."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run over the pending files."""

    lookup: Lookup
    changes: PendingChanges
    patience_ms: int
    deadline: float
    notes: list[str] = field(default_factory=list)


def preflight(
    connection: Connection,
    accepted: Sequence[Accepted],
    *,
    patience_ms: int = PATIENCE_MS,
    together_s: float = TOGETHER_S,
    notify: Notify = ignore,
) -> Preflight:
    """Ask the rows what pending statements would fail on; `accepted` in the order of the run.

    The connection is set to transactions that only read, one for each question. Nothing is left
    in the session. Raises HeadwaterError when the connection is lost.
    """
    connection.read_only = True
    lookup = Lookup(connection=connection)
    with translated("looking up the tables"):
        lookup.learn(named for file in accepted for named in locks_of([file.script]))
    run = _Run(
        lookup=lookup,
        changes=PendingChanges(key=partial(_key, lookup)),
        patience_ms=patience_ms,
        deadline=time.monotonic() + together_s,
    )
    findings = list[Finding]()
    for file in accepted:
        notify(Said(message=f"asking the rows about {file.migration.version}"))
        for statement in file.script.statements:
            findings += _of_statement(run, file, statement)
        file.let_go()
    return Preflight(findings=tuple(findings), notes=tuple(dict.fromkeys(run.notes)))


def _key(lookup: Lookup, name: Named) -> object:
    """Give what a name means today: a table (by its oid), or nothing but the name."""
    table = lookup.table(name)
    return table.oid if table is not None else name


def _of_statement(run: _Run, file: Accepted, statement: Statement) -> Iterator[Finding]:
    where = f"{file.migration.version}.sql:{statement.line}"
    try:
        for demand in demands_of(statement):
            if demand.later:
                run.changes.keep(demand)
                continue
            for one in _now(run, demand):
                yield from _of_demand(run, one, file, statement)
    except NotParsed as error:
        run.notes.append(f"{where}: the rows were not asked: {error.message}")
    run.changes.note(statement, where)


def _now(run: _Run, demand: Demand) -> Iterator[Demand]:
    """Give what is demanded now: of a constraint that this run has added, what that demands."""
    name = demand.constraint if isinstance(demand, Validated) else ""
    name = demand.validates if isinstance(demand, OfDomain) else name
    kept = run.changes.kept(demand, name) if name else []
    yield from (replace(one, later=False) for one in kept)
    if not kept:
        yield demand


def _of_demand(
    run: _Run, demand: Demand, file: Accepted, statement: Statement
) -> Iterator[Finding]:
    where = f"{file.migration.version}.sql:{statement.line}"
    tables = _tables_of(demand)
    if run.changes.is_new(demand, *tables):
        return
    if called := volatile_among(run.lookup.connection, demand.functions):
        run.notes.append(
            f"{where}: the rows were not asked: {', '.join(called)} is VOLATILE, so that it may "
            "do more than compute (mark it STABLE or IMMUTABLE if it does not)"
        )
        return
    for question in questions_of(run.lookup, demand, patience_ms=run.patience_ms):
        # Of a domain, or a default partition, the tables are known only now.
        read = (*tables, *(table.named for table in question.reads))
        answer = _answer(run, question, read)
        if answer.note:
            run.notes.append(f"{where}: {question.table} could not be asked: {answer.note}")
        elif answer.count:
            yield _finding(run, question, answer, file, statement)


def _answer(run: _Run, question: Question, read: Sequence[Named]) -> Answer:
    if writer := run.changes.writer(*read):
        return Answer(note=f"{writer} changes its rows before")
    left_ms = int((run.deadline - time.monotonic()) * 1000)
    if left_ms <= 0:
        return Answer(note="the questions before it have taken all the time that there is")
    return ask(run.lookup.connection, question, patience_ms=min(run.patience_ms, left_ms))


def _tables_of(demand: Demand) -> tuple[Named, ...]:
    """Give the tables that a demand is about; a domain has none of its own."""
    match demand:
        case OfDomain():
            return ()
        case Known() | Bounded():
            return demand.table, demand.parent
        case _:
            return (demand.table,)


# --- findings ---------------------------------------------------------------------------------


def _finding(
    run: _Run, question: Question, answer: Answer, file: Accepted, statement: Statement
) -> Finding:
    rule = _RULES[f"would-fail-{question.about}"]
    text = file.script.text
    message = (
        f"{question.doing} would fail: {_many(answer, question.unit)} of {question.table} "
        f"{question.rest}"
    )
    if run.changes.opaque:
        message += f", unless {run.changes.opaque} corrects them before"
    why = f" ({answer.refused})" if answer.refused else ""
    return rule.finding(
        file=f"{file.migration.version}.sql",
        line=statement.line,
        column=statement.column,
        end=place(text, statement.start + len(statement.text)),
        source=line_at(text, statement.line),
        message=message,
        measured=f"asked of the rows{why}; to see some: {example(question)}",
        relation=str(question.table),
        severity=Severity.WARNING if run.changes.opaque else None,
    )


def _many(answer: Answer, unit: str) -> str:
    """Give the count in words: exact up to `MOST`."""
    if answer.refused:
        return f"at least {plural(answer.count, unit)}"
    if answer.more:
        return f"more than {MOST:,} {unit}s"
    return f"{answer.count:,} {unit}" + ("" if answer.count == 1 else "s")
