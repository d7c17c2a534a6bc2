"""Files and history -> plan. Pure: no clock, no connection, nothing raised.

Pending is what history does not hold, never what is greater than the newest; every version gets
one state, and every disagreement is a problem with its advice. `require_no_problems` is the step
from a value to an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from headwater.errors import HistoryError
from headwater.files.down import DOWN
from headwater.model import Applied, Entry, Finding, Migration, Plan, Severity, State, plural

_NO_DATA = "; where the data do not matter: invoke reset"

ADVICE = {
    State.EDITED: "restore the file as it was applied, and write the change as a new migration; if "
    "the database holds the change already: invoke history.repair {version}" + _NO_DATA,
    State.UNKNOWN_RULE: "a newer Headwater made it: use that one; if nobody has one: "
    "invoke history.repair {version}" + _NO_DATA,
    State.MISSING: "restore the file from version control; what it did is undone by a new "
    "migration, not by deleting it" + _NO_DATA,
    State.RENAMED: "give the file its old name back; if the new one is meant: "
    "invoke history.repair {version}" + _NO_DATA,
    State.NEWER: "this checkout is older than the database: pull, then try again" + _NO_DATA,
    State.OUT_OF_ORDER: "if it does not depend on the later ones: "
    "invoke migrate --out-of-order {version}; otherwise give it today's date",
    State.HALF_DONE: "restore the file as it was when it stopped; the statements behind "
    "those that ran may be mended; if all that it does is there: invoke history.mark {version}",
    State.HALF_UNDONE: "invoke rollback goes on where it stopped; the statements of its down file "
    "behind those that ran may be mended; if what it did is taken back: "
    "invoke history.mark {version}",
}
_COSMETIC = "invoke history.repair {version} accepts it; or restore the file as it was applied"

# The rules by which this Headwater can judge a stored checksum (files/text.py). Another one would
# have another number, and no file could be compared with it.
_KNOWN_RULE = re.compile(r"sha256-1:[0-9a-f]{64}")


def make_plan(
    migrations: Sequence[Migration],
    history: Sequence[Applied],
    *,
    to: str = "",
    out_of_order: frozenset[str] = frozenset(),
    half_done: frozenset[str] = frozenset(),
) -> Plan:
    """Decide what would run, in order, and name all that stands against it.

    `to` is the last version to run (all when empty); `out_of_order` are versions that may run
    although a later date is applied already.
    """
    half_undone = {v.removesuffix(DOWN) for v in half_done if v.endswith(DOWN)}
    half_done = frozenset(v for v in half_done if not v.endswith(DOWN))
    applied = {row.version: row for row in history}
    newest = max((row.version.partition("_")[0] for row in history), default="")
    entries = []
    for migration in migrations:
        row = applied.pop(migration.version, None)
        state = _state(migration, row, newest=newest, allowed=out_of_order, half_done=half_done)
        entries.append(
            Entry(version=migration.version, state=state, migration=migration, applied=row)
        )
    entries += _without_file(applied.values(), entries)
    entries += _begun_without_file(half_done, entries)
    entries = [
        e._replace(state=State.HALF_UNDONE)
        if e.version in half_undone and e.state is State.APPLIED
        else e
        for e in entries
    ]
    entries.sort(key=lambda entry: entry.version)
    problems = [_problem(entry) for entry in entries if _stands_against(entry)]
    problems += _faults_of_request(to, out_of_order, migrations)
    steps = tuple(
        entry.migration
        for entry in entries
        if entry.migration is not None and entry.applied is None and (not to or entry.version <= to)
    )
    return Plan(steps=steps, entries=tuple(entries), problems=tuple(problems))


def require_no_problems(plan: Plan) -> None:
    """Raise HistoryError with every problem of the plan, unless there is none."""
    if plan.problems:
        raise HistoryError(
            f"files and history disagree in {plural(len(plan.problems), 'place')}; nothing was run",
            findings=plan.problems,
            hint="invoke status shows every version",
        )


def _state(
    migration: Migration,
    row: Applied | None,
    *,
    newest: str,
    allowed: frozenset[str],
    half_done: frozenset[str],
) -> State:
    if row is not None:
        return _state_of_applied(migration, row)
    if migration.version in half_done:
        return State.HALF_DONE
    if migration.prefix < newest and migration.version not in allowed:
        return State.OUT_OF_ORDER
    return State.PENDING


def _state_of_applied(migration: Migration, row: Applied) -> State:
    if row.checksum == migration.checksum:
        return State.APPLIED
    return State.EDITED if _KNOWN_RULE.fullmatch(row.checksum or "") else State.UNKNOWN_RULE


def _without_file(rows: Iterable[Applied], entries: Sequence[Entry]) -> list[Entry]:
    """Give the state of every row of history that has no file of its name."""
    pending = {e.migration.checksum for e in entries if e.migration and not e.applied}
    newest_file = max((e.migration.prefix for e in entries if e.migration), default="")
    found = []
    for row in rows:
        if row.checksum in pending:
            state = State.RENAMED
        elif row.version.partition("_")[0] > newest_file:
            state = State.NEWER
        else:
            state = State.MISSING
        found.append(Entry(version=row.version, state=state, applied=row))
    return found


def _begun_without_file(half_done: frozenset[str], entries: Sequence[Entry]) -> list[Entry]:
    """Give an entry for each version that stopped in the middle, and whose file is gone."""
    known = {entry.version for entry in entries}
    return [Entry(version=version, state=State.HALF_DONE) for version in half_done - known]


def _stands_against(entry: Entry) -> bool:
    """Say whether an entry is a problem. One that is half done is, unless it can simply go on."""
    if entry.state is State.HALF_DONE:
        return entry.migration is None or entry.migration.transactional
    return entry.state in ADVICE


def _problem(entry: Entry) -> Finding:
    cosmetic = is_cosmetic(entry)
    return Finding(
        rule=f"history-{entry.state.value.split(',')[0].replace(' ', '-')}",
        message=_message(entry, cosmetic=cosmetic),
        severity=Severity.ERROR,
        file=f"{entry.version}.sql",
        hint=(_COSMETIC if cosmetic else ADVICE[entry.state]).format(version=entry.version),
    )


def _message(entry: Entry, *, cosmetic: bool) -> str:
    if entry.state is State.EDITED:
        what = " (comments and blanks only)" if cosmetic else ""
        return f"it was edited after it was applied{what}"
    if entry.state is State.UNKNOWN_RULE and entry.applied:
        return (
            "it was recorded by a rule that this Headwater does not know: "
            f"{_shortened(entry.applied.checksum or 'nothing')}"
        )
    if entry.state is State.HALF_DONE and entry.migration:
        return (
            "statements of it ran without a transaction, and now it would run in one from its start"
        )
    return {
        State.HALF_DONE: "it stopped in the middle, and the file is gone",
        State.HALF_UNDONE: "its undoing stopped in the middle",
        State.MISSING: "it was applied, and the file is gone",
        State.RENAMED: "it was applied under this name, and the file has another name now",
        State.NEWER: "it was applied, and is newer than every file here",
        State.OUT_OF_ORDER: "it is pending, and a migration of a later date is applied already",
    }[entry.state]


_SHOWN = 16


def _shortened(checksum: str) -> str:
    return checksum if len(checksum) <= _SHOWN else f"{checksum[:_SHOWN]}…"


def is_cosmetic(entry: Entry) -> bool:
    """Say whether an edit left every token as it was (parses; asked about edited files only)."""
    if entry.state is not State.EDITED or not entry.migration or not entry.applied:
        return False
    return _same_tokens(entry.migration, entry.applied)


def _same_tokens(migration: Migration, row: Applied) -> bool:
    if row.tokens is None:
        return False
    from headwater.files.grammar import NotParsed, parse

    try:
        return parse(migration.text).token_checksum == row.tokens
    except NotParsed:
        return False


def _faults_of_request(
    to: str, out_of_order: frozenset[str], migrations: Sequence[Migration]
) -> list[Finding]:
    known = {migration.version for migration in migrations}
    return [
        Finding(
            rule="unknown-version",
            message=f"there is no migration {version!r}",
            hint="invoke status lists the versions; write one in full",
        )
        for version in sorted({to, *out_of_order} - {""})
        if version not in known
    ]


_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def order_of_history(rows: Iterable[Applied]) -> tuple[str, ...]:
    """Give the versions in the order in which they were applied; rows of one moment as they are."""
    by_time = sorted(rows, key=lambda row: row.applied_at or _BEFORE_ALL)
    return tuple(row.version for row in by_time)


def newest_first(plan: Plan) -> tuple[Entry, ...]:
    """Give what is applied in the order of undoing: what was begun, then the last one first."""
    entries = {entry.version: entry for entry in plan.entries}
    backwards = [entries[version] for version in reversed(order_of_history(plan.applied))]
    return tuple(sorted(backwards, key=lambda entry: entry.state is not State.HALF_UNDONE))


def advice(entry: Entry) -> str:
    """Give what to do about the state of an entry."""
    return ADVICE.get(entry.state, "invoke status").format(version=entry.version)


def files_of_renamed(plan: Plan, row: Applied) -> tuple[Migration, ...]:
    """Give the pending files that hold what a row without a file was applied from."""
    return tuple(step for step in pending(plan) if step.checksum == row.checksum)


def rows_of_renamed(plan: Plan, migration: Migration) -> tuple[Applied, ...]:
    """Give the rows without a file that were applied from what a pending file holds."""
    return tuple(
        entry.applied
        for entry in plan.entries
        if entry.state is State.RENAMED
        and entry.applied
        and entry.applied.checksum == migration.checksum
    )


def pending(plan: Plan) -> tuple[Migration, ...]:
    """Give every file that history does not hold, whatever stands against it."""
    return tuple(entry.migration for entry in plan.entries if entry.migration and not entry.applied)
