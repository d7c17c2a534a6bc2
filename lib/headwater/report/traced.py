"""What running a file has shown, drawn for people: whom each statement blocks, and for how long.

The plan of `migrate --dry-run` and of `lint`. What touches nothing that was there is counted, not
listed: most files make new things, and those block nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from headwater.amounts import in_bytes, in_rows, in_time
from headwater.model import plural
from headwater.report.changes import change_json
from headwater.report.forms import Json, Line, lock_json
from headwater.verdicts import Effect, Gone, Traced, TracedStatement, Weight, Weights

QUIET: Final = "nothing that was there is touched"

# Where the lines below a statement stand, those below a relation, and where each goes on.
_STATEMENT, _RELATION, _WORK = 2, 6, 8
_FURTHER = 4

_LONG = 100


def is_quiet(traced: Traced) -> bool:
    """Say whether there is nothing to tell: no lock, no drop, nothing unfinished, no failure."""
    said = traced.unfinished or traced.error
    return not said and all(map(_touches_nothing, traced.statements))


def _touches_nothing(statement: TracedStatement) -> bool:
    by_cascade = any(gone.cascade for gone in statement.gone)
    told = statement.effects or statement.hidden or statement.settings or statement.held
    return not (told or by_cascade or statement.skipped)


# --- for people -------------------------------------------------------------------------------


def traced_lines(traced: Traced, weights: Weights | None = None) -> Iterator[Line]:
    """Draw what each statement of a file locks and does; with weights, how much that is."""
    how = "in one transaction" if traced.transactional else "one by one, without a transaction"
    head = f"{traced.version}.sql: {plural(len(traced.statements), 'statement')}, {how}"
    if is_quiet(traced):
        yield Line(f"{head}; {QUIET}", "green", hang=_STATEMENT)
        return
    yield Line(head, "bold", hang=_STATEMENT)
    for quiet, statements in groupby(traced.statements, _touches_nothing):
        if quiet:
            yield _quiet_line(list(statements))
            continue
        for statement in statements:
            yield from _statement_lines(statement, weights.tables if weights else {})
    yield from _end_lines(traced)


def _quiet_line(statements: list[TracedStatement]) -> Line:
    first, last = statements[0].line, statements[-1].line
    if first == last:
        return _at(_STATEMENT, f"line {first}: {QUIET}", "dim")
    count = plural(len(statements), "statement")
    return _at(_STATEMENT, f"lines {first} to {last}: {count}; {QUIET}", "dim")


def _statement_lines(statement: TracedStatement, tables: Mapping[str, Weight]) -> Iterator[Line]:
    text = statement.text if len(statement.text) <= _LONG else f"{statement.text[:_LONG]} …"
    yield _at(_STATEMENT, f"line {statement.line}: {text}")
    if statement.skipped:
        yield _at(_RELATION, f"not run: {statement.skipped}", "yellow")
    for effect in statement.effects:
        yield _at(_RELATION, locked(effect), _style(effect))
        facts = [*work_of(effect), *heavy(effect, tables.get(effect.relation))]
        yield from (_at(_WORK, fact, _style(effect)) for fact in facts)
    for gone in statement.gone:
        yield _at(_RELATION, dropped(gone), "red" if gone.cascade else "")
    if statement.hidden:
        yield _at(_RELATION, f"does what its text does not say: {_list(statement.hidden)}")
    if statement.settings:
        yield _at(_RELATION, f"leaves settings changed: {_list(statement.settings)}", "yellow")
    if statement.held:
        held = ", ".join(f"{lock.relation} ({lock.mode.blocks})" for lock in statement.held)
        yield _at(_RELATION, f"still locked meanwhile: {held}", "yellow")


def _end_lines(traced: Traced) -> Iterator[Line]:
    for name in traced.unfinished:
        yield _at(_STATEMENT, f"left unfinished: {name}", "yellow")
    if traced.error:
        yield _at(_STATEMENT, f"does not run: {' '.join(traced.error.split())}", "red")


def _at(indent: int, text: str, style: str = "") -> Line:
    # A name may hold the end of a line: what stood behind it would be a line of its own.
    line = text.replace("\r", "\\r").replace("\n", "\\n")
    return Line(f"{' ' * indent}{line}", style, hang=indent + _FURTHER)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _style(effect: Effect) -> str:
    """Give the colour of a lock: red for what blocks and lasts, yellow for what blocks."""
    if effect.lock is None or not effect.lock.blocks_writes:
        return ""
    return "red" if effect.works else "yellow"


# --- words ------------------------------------------------------------------------------------


def locked(effect: Effect) -> str:
    """Say which lock a relation is under, and what others wait for."""
    name = effect.relation if effect.kind == "table" else f"{effect.kind} {effect.relation}"
    if effect.lock is None:
        return f"{name}: no new lock"
    reached = "" if effect.target else "; reached from another relation"
    return f"{name}: {effect.lock.value}, {effect.lock.blocks}{reached}"


def work_of(effect: Effect) -> tuple[str, ...]:
    """Say what was done to all of a relation, a fact each; nothing where it was only locked."""
    facts = []
    if effect.rewrite:
        facts.append(f"writes all of it anew ({effect.rewrite})")
    elif effect.scans:
        facts.append(f"reads all of it{_times(effect.scans)}")
    if effect.builds:
        facts.append(f"builds {_list(effect.builds)}")
    if effect.rows:
        facts.append(f"changes {in_rows(effect.rows)} of the scratch database")
    return tuple(facts)


def _times(count: int) -> str:
    return "" if count == 1 else f", {count} times"


def heavy(effect: Effect, weight: Weight | None) -> tuple[str, ...]:
    """Say how much there is of a relation, and how long its work takes; nothing if unknown."""
    if weight is None:
        return ()
    rows = "never analysed" if weight.estimated else in_rows(weight.rows)
    size = f"{rows}, {in_bytes(weight.bytes)}"
    seconds = weight.seconds(effect)
    return (f"{size}, {in_time(seconds)}" if seconds else size,)


def dropped(gone: Gone) -> str:
    """Say what a statement dropped, and whether it named it."""
    how = "drops by cascade" if gone.cascade else "drops"
    return f"{how}: {gone.kind} {gone.identity}"


# --- for JSON ---------------------------------------------------------------------------------


def traced_json(traced: Traced) -> Json:
    """Give what running a file has shown as JSON."""
    return {
        "version": traced.version,
        "transaction": traced.transactional,
        "statements": [_statement_json(statement) for statement in traced.statements],
        "unfinished": list(traced.unfinished),
        "changes": [change_json(change) for change in traced.changes],
        "notes": list(traced.notes),
        "error": traced.error or None,
    }


def _statement_json(statement: TracedStatement) -> Json:
    return {
        "number": statement.number,
        "line": statement.line,
        "text": statement.text,
        "effects": [_effect_json(effect) for effect in statement.effects],
        "gone": [_gone_json(gone) for gone in statement.gone],
        "hidden": list(statement.hidden),
        "settings": list(statement.settings),
        "held": [lock_json(lock) for lock in statement.held],
        "skipped": statement.skipped or None,
    }


def _effect_json(effect: Effect) -> Json:
    return {
        "relation": effect.relation,
        "kind": effect.kind,
        "lock": effect.lock.value if effect.lock else None,
        "blocks": effect.lock.blocks if effect.lock else None,
        "target": effect.target,
        "rewrite": effect.rewrite or None,
        "scans": effect.scans,
        "builds": list(effect.builds),
        "rows": effect.rows,
    }


def _gone_json(gone: Gone) -> Json:
    return {"kind": gone.kind, "object": gone.identity, "cascade": gone.cascade}


def weights_json(weights: Weights, relations: set[str]) -> Json:
    """Give the weights of some relations as JSON, in order of their names."""
    known = sorted(relations & weights.tables.keys())
    return {
        "source": weights.source,
        "version": weights.version,
        "tables": [_weight_json(name, weights.tables[name]) for name in known],
    }


def _weight_json(relation: str, weight: Weight) -> Json:
    return {
        "relation": relation,
        "rows": weight.rows,
        "bytes": weight.bytes,
        "heap_bytes": weight.heap_bytes,
        "index_bytes": weight.index_bytes,
        "writes": weight.writes,
    }
