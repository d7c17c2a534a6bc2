"""What each statement locks, and what work it is: measured, and written as docs/locks.md.

`python -m tests.locktable docs/locks.md` measures on every version and writes the page anew; the
test compares the page with each version that is installed.

A statement runs in a transaction that is rolled back; its locks are held until then, so that none
is missed. Those that cannot run in one, or let a lock go before they end, are made to wait: other
sessions hold what they ask for, and the locks are read whenever they wait.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg

from headwater.model import Target
from headwater.outcomes import LockMode
from headwater.postgres.connect import Connection, connect, pin
from tests.conftest import disposable_on
from tests.lockstatements import FORMS, GROUPS, SETUP, Form
from tests.servers import VERSIONS, started
from tests.support import server_of_tests

PAGE = Path("docs/locks.md")
NOTHING = "-"


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line of the table: what a statement does to one relation."""

    statement: str
    relation: str
    lock: str
    blocks: str
    work: str


# --- measuring --------------------------------------------------------------------------------

# Every relation that is there before a statement, with the file that holds it, and how often it has
# been read as a whole.
_THERE = """
select c.oid, c.relname, c.relkind, coalesce(i.indrelid, 0),
       pg_relation_filenode(c.oid), coalesce(pg_relation_size(c.oid), 0),
       coalesce(pg_stat_get_xact_numscans(c.oid), 0) + case when %s
           then coalesce(pg_stat_get_numscans(c.oid), 0) else 0 end,
       coalesce(pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
                + pg_stat_get_xact_tuples_deleted(c.oid), 0)
  from pg_class c
  left join pg_index i on i.indexrelid = c.oid
 where c.relnamespace in ('app'::regnamespace, 'public'::regnamespace)
"""
_LOCKS = """
select relation, mode from pg_locks
 where pid = any (%s) and locktype = 'relation'
   and database = (select oid from pg_database where datname = current_database())
"""
# Only an event trigger is told why a table is written anew. It notes it in a setting, which a
# transaction takes back with it.
_REASONS = """
create schema measured;
create function measured.note() returns event_trigger language plpgsql as $$ begin
    perform set_config('measured.reason', concat(current_setting('measured.reason', true), ' ',
        pg_event_trigger_table_rewrite_oid(), '=', pg_event_trigger_table_rewrite_reason()), true);
end $$;
create event trigger note on table_rewrite execute function measured.note();
"""
_REASON_BITS = {1: "persistence", 2: "default", 4: "column type", 8: "access method"}


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """One relation at one moment."""

    name: str
    kind: str
    table: int
    """Of an index: its table."""
    file: int | None
    size: int
    scans: int
    rows: int


@dataclass(slots=True)
class Measured:
    """What was seen of one statement."""

    before: dict[int, There]
    after: dict[int, There] = field(default_factory=dict)
    locks: dict[int, LockMode] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def see(self, rows: Iterable[tuple[int, str]]) -> None:
        """Take locks in, the strongest of each relation."""
        for oid, mode in rows:
            seen = in_words(mode)
            self.locks[oid] = max(self.locks.get(oid, seen), seen, key=lambda one: one.rank)


def in_words(mode: str) -> LockMode:
    """Turn `ShareRowExclusiveLock` into the words of the manual."""
    return LockMode(re.sub("(?<=.)(?=[A-Z])", " ", mode.removesuffix("Lock")).upper())


def there(connection: Connection, *, committed: bool) -> dict[int, There]:
    """Read which relations there are; scans of the transaction alone, or of all before it too."""
    return {
        oid: There(name=name, kind=kind, table=table, file=file, size=size, scans=scans, rows=rows)
        for oid, name, kind, table, file, size, scans, rows in connection.execute(
            _THERE, (committed,)
        )
    }


def measured(connection: Connection, form: Form) -> Measured:
    """Run a statement in a transaction that is rolled back, and look before and behind it."""
    with connection.transaction(force_rollback=True):
        seen = Measured(before=there(connection, committed=False))
        connection.execute(form.statement.encode())
        seen.see(connection.execute(_LOCKS, ([connection.info.backend_pid],)).fetchall())
        seen.after = there(connection, committed=False)
        seen.reasons = _reasons(connection)
    return seen


def _reasons(connection: Connection) -> dict[int, str]:
    row = connection.execute("select current_setting('measured.reason', true)").fetchone()
    pairs = (one.split("=") for one in ((row and row[0]) or "").split())
    return {
        int(oid): " and ".join(word for bit, word in _REASON_BITS.items() if int(bits) & bit)
        for oid, bits in pairs
    }


def watched(target: Target, connection: Connection, form: Form) -> Measured:
    """Run a statement that has to wait for each of its blockers, and look whenever it waits."""
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        runner = stack.enter_context(connect(target, purpose="test"))
        holders = {}
        for blocker in form.blockers:
            holder = stack.enter_context(psycopg.connect(target.conninfo))
            holder.execute(blocker.encode())
            holders[holder.info.backend_pid] = holder
        seen = Measured(before=there(connection, committed=True))
        run = pool.submit(runner.execute, form.statement.encode())
        while holders:
            blocking = _wait(connection, runner.info.backend_pid, run)
            seen.see(connection.execute(_LOCKS, ([runner.info.backend_pid],)).fetchall())
            for pid in blocking:
                holders.pop(pid).rollback()
        run.result(timeout=10)
        runner.execute("select pg_stat_force_next_flush()")
        runner.execute("select 1")
        seen.after = there(connection, committed=True)
    return seen


def _wait(connection: Connection, pid: int, run: Future[Any]) -> list[int]:
    """Wait until a session is blocked, and give those that block it."""
    deadline = time.monotonic() + 10
    while True:
        row = connection.execute("select pg_blocking_pids(%s)", (pid,)).fetchone()
        if row and row[0]:
            return list(row[0])
        assert not run.done(), f"it ended without waiting: {run.exception()}"
        assert time.monotonic() < deadline, "it never waited"


# --- from what was seen to lines --------------------------------------------------------------


def lines_of(form: Form, seen: Measured) -> tuple[Line, ...]:
    """Give a line for each relation that was there, and was locked or worked on."""
    found = [
        Line(form.statement, _called(there), *_lock(seen.locks.get(oid)), _work(seen, oid))
        for oid, there in sorted(seen.before.items(), key=_order(form))
        if _is_told(seen, oid)
    ]
    return tuple(found) or (Line(form.statement, NOTHING, NOTHING, NOTHING, NOTHING),)


def _order(form: Form) -> Any:
    """Put what the statement names first, then tables before indexes, by name."""

    def key(item: tuple[int, There]) -> tuple[bool, bool, int, str]:
        name = item[1].name
        place = re.search(rf"\b{name}\b", form.statement)
        return (place is None, item[1].kind in "iI", place.start() if place else 0, name)

    return key


def _called(one: There) -> str:
    kinds = {"i": "index ", "I": "index ", "S": "sequence ", "v": "view "}
    return f"{kinds.get(one.kind, '')}`{one.name}`"


def _lock(mode: LockMode | None) -> tuple[str, str]:
    return (mode.value, mode.blocks.removeprefix("blocks ")) if mode else (NOTHING, NOTHING)


def _is_told(seen: Measured, oid: int) -> bool:
    """Say whether a relation is worth a line: an index only where its lock is the stronger one."""
    mode, one = seen.locks.get(oid), seen.before[oid]
    if one.kind not in "iI":
        return mode is not None or _work(seen, oid) != NOTHING
    of_table = seen.locks.get(one.table)
    return mode is not None and (of_table is None or mode.rank > of_table.rank)


def _work(seen: Measured, oid: int) -> str:
    """Say what grows with a table: writing it anew, reading all of it, building indexes, rows."""
    before, after = seen.before[oid], seen.after.get(oid)
    if before.kind in "iIvS" or after is None:
        return NOTHING
    if before.file != after.file and not after.size:
        return "emptied"
    parts = []
    if oid in seen.reasons:
        parts.append(f"rewrite ({seen.reasons[oid]})")
    elif before.file != after.file:
        parts.append("new file")
    parts += ["scan"] * (after.scans > before.scans)
    parts += ["index build"] * bool(_built(seen, oid))
    parts += ["rows"] * (after.rows > before.rows)
    return ", ".join(parts) or NOTHING


def _built(seen: Measured, table: int) -> list[str]:
    """Give the indexes of a table that were built: new ones, and those in a new file."""
    files = {one.file for one in seen.before.values()}
    return [
        one.name
        for one in seen.after.values()
        if one.table == table and one.kind == "i" and one.file not in files
    ]


# --- a version, all versions ------------------------------------------------------------------


def measure(server: Target, major: int) -> tuple[Line, ...]:
    """Measure every statement that a server of a version knows, in one database."""
    found = list[Line]()
    with disposable_on(server) as target, connect(target, purpose="test") as connection:
        pin(connection, lock_timeout_ms=5000)
        connection.execute(SETUP.encode())
        connection.execute(_REASONS.encode())
        for form in FORMS:
            if form.since > major:
                continue
            seen = (
                watched(target, connection, form) if form.blockers else measured(connection, form)
            )
            found += lines_of(form, seen)
    return tuple(found)


def table(versions: Mapping[int, Sequence[Line]]) -> list[tuple[Line, tuple[int, ...]]]:
    """Put the versions together: each line once, with those that it holds for, as FORMS stand.

    Where versions differ about a statement, the lines of the older ones stand first.
    """
    rows = list[tuple[Line, tuple[int, ...]]]()
    for form in FORMS:
        said: dict[tuple[Line, ...], list[int]] = {}
        for major, lines in sorted(versions.items()):
            of_form = tuple(line for line in lines if line.statement == form.statement)
            if of_form:
                said.setdefault(of_form, []).append(major)
        rows += [(line, tuple(majors)) for lines, majors in said.items() for line in lines]
    return rows


# --- the page ---------------------------------------------------------------------------------

_ABOVE = """\
# Locks

What each kind of statement locks, whom that keeps waiting, and whether its time grows with the
table. Nothing here is from memory: `python -m tests.locktable docs/locks.md` runs every statement
on PostgreSQL {first} to {last} and writes this page; a test runs them again, and compares.

- **Work**: *rewrite* writes the table and all its indexes anew (in brackets: what for), and so
  does *new file*; *scan* reads all of it; *index build*; *rows* are written. A dash is no work that
  grows with the table, or no lock at all. (VACUUM and ANALYZE read as well; the server does not
  count that as a scan.)
- The lock is held **until the transaction ends**: to the end of the file, not of the statement.
- An index has a line of its own where its lock is stronger than that of its table. A query waits
  for the locks of all indexes of its tables.
- Sessions run in UTC, as migrations do: that is why `timestamptz` to `timestamp` is no rewrite.
- `CONCURRENTLY`, `VACUUM` and `VACUUM FULL` let locks go before they end. Here other sessions made
  them wait, and the locks were read meanwhile: those that they held, and those that they asked for.
- The last column says which versions a line was measured on, where not on all.

The statements find this schema, with rows in each table but `empty`:

```sql
{setup}
```
"""
_HEAD = "| statement | relation | lock | blocks | work | PostgreSQL |\n|---|---|---|---|---|---|\n"


def page(rows: Sequence[tuple[Line, tuple[int, ...]]]) -> str:
    """Write the page: a table for each group of statements."""
    parts = [_ABOVE.format(first=VERSIONS[0], last=VERSIONS[-1], setup=_shown_setup())]
    for title, forms in GROUPS.items():
        statements = {form.statement for form in forms}
        of_group = [row for row in rows if row[0].statement in statements]
        parts.append(f"## {title}\n\n{_HEAD}{''.join(_rows(of_group))}")
    return "\n".join(parts)


def _shown_setup() -> str:
    return SETUP.partition("insert into")[0].strip()


def _rows(rows: Sequence[tuple[Line, tuple[int, ...]]]) -> Iterator[str]:
    for (statement, majors), lines in groupby(rows, key=lambda row: (row[0].statement, row[1])):
        for number, (line, _) in enumerate(lines):
            first = f"`{' '.join(statement.split())}`" if not number else ""
            cells = (first, line.relation, line.lock, line.blocks, line.work, _named(majors))
            yield f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _named(majors: tuple[int, ...]) -> str:
    if majors == VERSIONS:
        return ""
    return f"{majors[0]} to {majors[-1]}" if len(majors) > 1 else str(majors[0])


def rows_on(text: str, major: int) -> list[str]:
    """Give the lines of a page's tables that hold for a version, without saying which those are."""
    return [
        line.rpartition("|")[0].rpartition("|")[0]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| statement") and _holds(line, major)
    ]


def _holds(line: str, major: int) -> bool:
    majors = line.split("|")[-2].strip()
    first, _, last = majors.partition(" to ")
    return not majors or int(first) <= major <= int(last or first)


def write(path: Path) -> None:
    """Measure on every version, and write the page. Raises `servers.Missing`."""
    root = Path(__file__).parent.parent
    servers = {major: started(major) for major in VERSIONS[:-1]}
    servers[VERSIONS[-1]] = server_of_tests(root)
    rows = table({major: measure(server, major) for major, server in servers.items()})
    path.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
