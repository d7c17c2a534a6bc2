"""The trace: run a file statement by statement on a scratch database, and measure each one.

    locks      the strongest new one on each relation that was there before the file
    rewrites   another file behind a table, with the reason that the server gives
    scans      the server's own counters; they count on empty tables as well
    builds     indexes whose file is new
    drops, DDL event triggers, also for what a DO block or a function does

Each statement runs in a transaction of its own, so that its locks are its own; where a file needs
its one transaction (SET LOCAL, ON COMMIT DROP), in that, and what was locked by an earlier
statement is told of that one. Nothing is measured by the text of a statement; only what no
transaction can hold (CONCURRENTLY) has its locks from the manual, as the session that runs it
cannot look meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from typing import Any, Final

import psycopg

from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement, option_is_on
from headwater.files.refusals import needs_no_transaction
from headwater.files.serverwide import reaches_beyond, reads_the_machine
from headwater.files.targets import Targets, targets_of
from headwater.files.text import without_secrets
from headwater.model import Target
from headwater.outcomes import LockMode, TableLock
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.probe import (
    Counts,
    Probe,
    Relation,
    counts,
    only_notes,
    probe,
    relations,
    session_settings,
    unfinished,
)
from headwater.postgres.translate import facts, place_of_error, translated
from headwater.settings import Settings
from headwater.verdicts import Effect, Gone, Traced, TracedAction, TracedStatement

NO_TRIGGERS: Final = (
    "the role is no superuser of the scratch server: why a table is rewritten, what a DO block "
    "does, and what a cascade drops is not seen"
)

_KINDS: Final = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}

# ALTER TABLE's reasons, a bit each (commands/event_trigger.h, AT_REWRITE_*).
_REASONS: Final = {1: "persistence", 2: "default", 4: "column type", 8: "access method"}

# What gives a table another file, and is no ALTER TABLE.
_NEW_FILES: Final = {
    "cluster_stmt": "cluster",
    "refresh_mat_view_stmt": "refresh",
    "vacuum_stmt": "vacuum full",
}

# Here a scan is one of the plan that suits an empty table, unless it could not be avoided.
_PLANNED: Final = frozenset(
    {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt"}
)

# What may do anything: its text does not say what it is about.
_OPAQUE: Final = frozenset({"do_stmt", "call_stmt", "select_stmt"})

Look = Callable[[int, Connection], None]
"""Called before the first statement (0) and behind each (its number), to look at the catalogue."""


def trace(
    database: Target,
    file: Accepted,
    settings: Settings,
    *,
    together: bool,
    look: Look = lambda _number, _connection: None,
) -> Traced:
    """Run a file on a scratch database that holds what was before it, and measure each statement.

    Each runs in a transaction of its own, or all `together` in one. Afterwards the database holds
    what they did, and the event triggers. A file that fails has an `error`, and the statements up
    to that.
    """
    with connect(database, purpose="trace") as connection:
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
        run = _Run(
            connection=connection, file=file, bookkeeping=settings, together=together, look=look
        )
        return run.traced()


def replay(  # noqa: PLR0913 - each is named by its caller
    database: Target, file: Accepted, settings: Settings, *, together: bool, last: int, look: Look
) -> None:
    """Run a file as `trace` did, up to the statement `last`, only to look behind each again.

    What fails this time ends it.
    """
    with connect(database, purpose="trace") as connection, suppress(psycopg.Error):
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
        if together:
            connection.execute("BEGIN")
        for number, statement in enumerate(file.script.statements[:last], 1):
            if not (reaches_beyond(statement) or reads_the_machine(statement)):
                _run_alone(connection, file, statement, together=together)
            look(number, connection)


def _run_alone(
    connection: Connection, file: Accepted, statement: Statement, *, together: bool
) -> None:
    """Run a statement in a transaction, as far as it may be in one."""
    text = statement.text.encode()
    if together or (needs_no_transaction(statement) and not file.migration.transactional):
        connection.execute(text)
        return
    connection.execute("BEGIN")
    try:
        connection.execute(text)
        connection.execute("COMMIT")
    except psycopg.errors.InvalidTransactionTermination:
        connection.execute("ROLLBACK")
        connection.execute(text)


def install(connection: Connection) -> bool:
    """Make the event triggers of tracing.sql; say whether the role may."""
    may = connection.execute("SELECT pg_catalog.current_setting('is_superuser') = 'on'").fetchone()
    if may != (True,):
        return False
    connection.execute(files(__package__).joinpath("tracing.sql").read_bytes())
    return True


@dataclass(slots=True, kw_only=True)
class _Run:
    """One file on one database."""

    connection: Connection
    file: Accepted
    bookkeeping: Settings
    """Which tables are Headwater's own."""
    together: bool
    look: Look
    old: Mapping[int, Relation] = field(init=False)
    """What was there before the file."""
    now: Mapping[int, Relation] = field(init=False)
    settings: Mapping[str, str] = field(init=False)
    triggers: bool = field(init=False)
    known: int = 0
    """How many notes of the triggers were told; they stay while the transaction does."""
    held: dict[int, LockMode] = field(default_factory=dict)
    """What the transaction of the file holds, or would hold, on what was there before it."""

    def traced(self) -> Traced:
        """Run every statement, and give what was seen up to an error."""
        with translated("preparing the trace"):
            self.look(0, self.connection)
            self.triggers = install(self.connection)
            self.now = relations(self.connection)
            self.old = {oid: each for oid, each in self.now.items() if not self._is_history(each)}
            self.settings = session_settings(self.connection)
            before = unfinished(self.connection)
        traced = list[TracedStatement]()
        error = ""
        if self.together:
            self.connection.execute("BEGIN")
        try:
            for number, statement in enumerate(self.file.script.statements, 1):
                traced.append(self._statement(number, statement))
                self.look(number, self.connection)
            if self.together:
                self.connection.execute("COMMIT")
        except psycopg.Error as failure:
            error = self._told(failure, len(traced))
        left = () if error else unfinished(self.connection)
        return Traced(
            version=self.file.migration.version,
            transactional=self.file.migration.transactional,
            statements=tuple(traced),
            unfinished=tuple(name for name in left if name not in before),
            unfinished_then=left,
            notes=() if self.triggers else (NO_TRIGGERS,),
            error=error,
        )

    def _is_history(self, relation: Relation) -> bool:
        tables = (self.bookkeeping.history_table, f"{self.bookkeeping.history_table}_steps")
        return relation.schema == self.bookkeeping.history_schema and (relation.bare_name in tables)

    def _told(self, error: psycopg.Error, index: int) -> str:
        name = f"{self.file.migration.version}.sql"
        if index < len(self.file.script.statements):
            # A statement is sent alone: the server counts from where it begins.
            start = self.file.script.statements[index].start
            where = place_of_error(error, self.file.script, name, index=index, offset=-start)
            return f"{where}: {facts(error)}"
        return f"{name}: {facts(error)}"

    # --- one statement ------------------------------------------------------------------------

    def _statement(self, number: int, statement: Statement) -> TracedStatement:
        told = TracedStatement(
            number=number,
            line=statement.line,
            column=statement.column,
            text=_on_one_line(statement.text),
        )
        if beyond := reaches_beyond(statement) or reads_the_machine(statement):
            return replace(
                told, skipped=f"{beyond} reaches beyond the database: it is not run here"
            )
        if needs_no_transaction(statement) and not self.file.migration.transactional:
            told = self._outside(told, statement)
        else:
            told = self._inside_or_outside(told, statement)
        return replace(told, settings=self._left())

    def _inside_or_outside(self, told: TracedStatement, statement: Statement) -> TracedStatement:
        """Run a statement in a transaction, unless it ends that: a block with a COMMIT."""
        try:
            return self._inside(told, statement)
        except psycopg.errors.InvalidTransactionTermination:
            if self.file.migration.transactional:
                raise
            self.connection.execute("ROLLBACK")
            return self._outside(told, statement)

    def _left(self) -> tuple[str, ...]:
        """Name the settings that the next statement finds changed."""
        if self.together:
            return ()  # those that are only for the transaction cannot be told from the others
        before, after = self.settings, session_settings(self.connection)
        self.settings = after
        names = sorted(before.keys() | after.keys())
        return tuple(name for name in names if before.get(name) != after.get(name))

    def _inside(self, told: TracedStatement, statement: Statement) -> TracedStatement:
        """Run a statement in a transaction, and look before that ends."""
        if not self.together:
            self.connection.execute("BEGIN")
            self.known = 0
        # Where nothing was there before the file, nobody waits: only the triggers tell anything.
        new = self.triggers and not self.old
        targets = self._targets(statement)
        actions = () if new else self._actions(statement, targets)
        before = {} if new else counts(self.connection)
        with self._sparing_scans() if statement.kind in _PLANNED else nullcontext():
            self.connection.execute(statement.text.encode())
        seen = only_notes(self.connection) if new else probe(self.connection)
        if not self.together:
            self.connection.execute("COMMIT")
        judged = self._judged(told, statement, targets, before, seen)
        return replace(judged, actions=actions)

    def _targets(self, statement: Statement) -> Targets:
        """Give what a statement is about; a name without a schema is looked up as it would be."""
        targets = targets_of(statement)
        bare = [name for schema, name in targets.names if not schema]
        if not bare:
            return targets
        look_up = "SELECT pg_catalog.to_regclass(pg_catalog.quote_ident(%s))::pg_catalog.oid"
        rows = [self.connection.execute(look_up, (name,)).fetchone() for name in bare]
        found = [self.now[row[0]] for row in rows if row and row[0] in self.now]
        names = {(each.schema, each.bare_name) for each in found}
        return replace(targets, names=frozenset(name for name in targets.names if name[0]) | names)

    def _actions(self, statement: Statement, targets: Targets) -> tuple[TracedAction, ...]:
        """Measure the actions of an ALTER TABLE one by one, and take them back.

        PostgreSQL does them at once: that one of them rewrites the table says nothing of another.
        """
        script = self.file.script
        actions = script.actions_of(statement)
        if len(actions) < 2:
            return ()
        done = list[TracedAction]()
        self.connection.execute("SAVEPOINT headwater_actions")
        try:
            known, now = self.known, self.now
            for action in actions:
                before = counts(self.connection)
                self.connection.execute(action.text.encode())
                seen = probe(self.connection)
                measured = self._measured(statement, targets, now, before, seen, seen.notes[known:])
                known, now = len(seen.notes), seen.relations
                done.append(
                    TracedAction(
                        begin=script.places.of(action.start),
                        end=script.places.of(action.end),
                        effects=tuple(measured.effects()),
                    )
                )
        except psycopg.Error:
            done.clear()  # one needs another
        self.connection.execute("ROLLBACK TO SAVEPOINT headwater_actions")
        return tuple(done)

    @contextmanager
    def _sparing_scans(self) -> Generator[None]:
        """Let a query read all of a table only where no index could spare that.

        On empty tables the planner would else do so whatever there is.
        """
        usual = self.connection.execute("SHOW enable_seqscan").fetchone()
        self.connection.execute("SET LOCAL enable_seqscan = off")
        yield
        again = "SELECT pg_catalog.set_config('enable_seqscan', %s, true)"
        self.connection.execute(again, usual)

    def _judged(
        self,
        told: TracedStatement,
        statement: Statement,
        targets: Targets,
        before: Mapping[int, Counts],
        seen: Probe,
    ) -> TracedStatement:
        notes = seen.notes[self.known :]
        self.known = len(seen.notes) if self.together else 0
        measured = self._measured(statement, targets, self.now, before, seen, notes)
        effects = tuple(measured.effects())
        held = self._held_by_others(effects, measured)
        self.now = seen.relations
        return replace(
            told,
            effects=effects,
            gone=tuple(_gone(notes)),
            hidden=tuple(_hidden(notes)) if statement.kind in _OPAQUE else (),
            made=tuple(_made(notes, self.old, seen, measured.granted())),
            held=held,
        )

    def _measured(  # noqa: PLR0913, PLR0917 - all that was seen
        self,
        statement: Statement,
        targets: Targets,
        relations: Mapping[int, Relation],
        before: Mapping[int, Counts],
        seen: Probe,
        notes: Sequence[Mapping[str, Any]],
    ) -> _Measured:
        """Put together what was seen before a statement and behind it."""
        none = Counts()
        return _Measured(
            statement=statement,
            targets=targets,
            old=self.old,
            before=relations,
            seen=seen,
            counted={oid: each.since(before.get(oid, none)) for oid, each in seen.counts.items()},
            notes=notes,
            already=self.held if self.together else {},
        )

    def _held_by_others(
        self, effects: Sequence[Effect], measured: _Measured
    ) -> tuple[TableLock, ...]:
        """Name what earlier statements of the transaction keep from others while this one works."""
        blocked = [
            TableLock(relation=self.old[oid].name, mode=mode)
            for oid, mode in self.held.items()
            if mode.blocks_writes
        ]
        if self.file.migration.transactional:
            for oid, mode in measured.locks().items():
                if oid not in self.held or mode.rank > self.held[oid].rank:
                    self.held[oid] = mode
        if not any(effect.works for effect in effects):
            return ()
        return tuple(sorted(blocked, key=lambda lock: (-lock.mode.rank, lock.relation)))

    # --- what no transaction can hold ---------------------------------------------------------

    def _outside(self, told: TracedStatement, statement: Statement) -> TracedStatement:
        targets = self._targets(statement)
        self.connection.execute(statement.text.encode())
        after = relations(self.connection)
        locks = self._by_the_manual(statement, targets)
        seen = Probe(relations=after, locks=locks, counts={}, notes=())
        measured = self._measured(statement, targets, self.now, {}, seen, ())
        self.now = after
        return replace(told, effects=tuple(measured.effects()), locks_known=not targets.unknown)

    def _by_the_manual(self, statement: Statement, targets: Targets) -> dict[int, LockMode]:
        """Give the lock of a statement that only the manual tells, on what it is about."""
        alone = _is_full_vacuum(statement) or statement.kind == "cluster_stmt"
        mode = LockMode.ACCESS_EXCLUSIVE if alone else LockMode.SHARE_UPDATE_EXCLUSIVE
        return {
            each.table or oid: mode
            for oid, each in self.now.items()
            if targets.name(each.schema, each.bare_name)
        }


_LONGEST = 200


def _on_one_line(text: str) -> str:
    """Give a statement as one line: that of its first words alone may not say what it does."""
    line = " ".join(without_secrets(text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


# --- what was measured, by relation -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)  # no slots: a cached property needs a __dict__
class _Measured:
    """What was seen of one statement, to be told by the relations that were there before."""

    statement: Statement
    targets: Targets
    old: Mapping[int, Relation]
    before: Mapping[int, Relation]
    """Every relation before the statement."""
    seen: Probe
    counted: Mapping[int, Counts]
    notes: Sequence[Mapping[str, Any]]
    already: Mapping[int, LockMode]

    def effects(self) -> Iterator[Effect]:
        """Give what happened to each table that was there before the file, by name."""
        locks, rewritten = self.locks(), self._rewritten()
        builds = self._builds()
        oids = {*locks, *rewritten, *builds, *(oid for oid in self.counted if oid in self.old)}
        for oid in sorted(oids, key=lambda oid: self.old[oid].name):
            relation = self.old[oid]
            if relation.kind not in _KINDS:
                continue
            lock, counted = locks.get(oid), self.counted.get(oid, Counts())
            effect = Effect(
                relation=relation.name,
                kind=_KINDS[relation.kind],
                lock=lock or self.already.get(oid),
                target=self._is_target(oid),
                rewrite=rewritten.get(oid, ""),
                scans=self._scans(counted, lock),
                builds=tuple(sorted(builds.get(oid, ()))),
                rows=counted.rows,
            )
            if lock or effect.works or effect.rows:
                yield effect

    def locks(self) -> dict[int, LockMode]:
        """Give the new locks on old tables; the lock of an index is told of its table."""
        found = dict[int, LockMode]()
        for oid, mode in self.seen.locks.items():
            home = self.old[oid].table or oid if oid in self.old else oid
            if home not in self.old or mode == self.already.get(home):
                continue
            if home not in found or mode.rank > found[home].rank:
                found[home] = mode
        return {
            oid: mode
            for oid, mode in found.items()
            if oid not in self.already or mode.rank > self.already[oid].rank
        }

    def _scans(self, counted: Counts, lock: LockMode | None) -> int:
        """Count the readings of a whole table: what DDL reads by an index, it reads whole.

        (A foreign key is checked by a query of the server's own, which may use one.)
        """
        if self.statement.kind == "truncate_stmt":
            return 0  # its indexes are made anew, of nothing
        if self.statement.kind in _PLANNED:
            return counted.whole
        return counted.scans if lock is None or lock.rank > 0 else counted.whole

    def _rewritten(self) -> dict[int, str]:
        """Give the reason for every old table that has another file than before."""
        reasons = {
            note["table"]: _reason(note["reason"])
            for note in self.notes
            if note["what"] == "rewrite" and note["table"] in self.old
        }
        for oid, relation in self.before.items():
            after = self.seen.relations.get(oid)
            if oid in self.old and relation.kind in "rm" and after and after.file != relation.file:
                reasons.setdefault(oid, self._reason_of_file())
        return {oid: reason for oid, reason in reasons.items() if reason}

    def _reason_of_file(self) -> str:
        """Say why there is a new file; nothing when it is empty, and nothing was written."""
        if self.statement.kind == "truncate_stmt":
            return ""
        return _NEW_FILES.get(self.statement.kind, "new file")

    def _builds(self) -> dict[int, list[str]]:
        """Give the indexes of old tables whose file is new, as those of new indexes are."""
        if self.statement.kind == "truncate_stmt":
            return {}
        # (A type that needs no other form makes the index anew, and keeps its file.)
        there = {relation.file for relation in self.before.values()}
        found = dict[int, list[str]]()
        for relation in self.seen.relations.values():
            is_new = relation.kind == "i" and relation.file not in there
            if is_new and relation.table in self.old:
                found.setdefault(relation.table, []).append(relation.name)
        return found

    def _is_target(self, oid: int) -> bool:
        """Say whether the statement is about a relation, or about one that this is a part of."""
        if self.statement.kind in _OPAQUE or self.targets.unknown:
            return True
        seen, stack = set[int](), [oid]
        while stack:
            one = stack.pop()
            if one in seen or one not in self.before:
                continue
            seen.add(one)
            if one in self._targeted:
                return True
            stack += self.before[one].parents
        return False

    def granted(self) -> Iterator[str]:
        """Name the relations that a GRANT is about: the event of a GRANT names nothing."""
        if self.statement.kind == "grant_stmt":
            yield from (self.before[oid].name for oid in sorted(self._targeted))

    @cached_property
    def _targeted(self) -> frozenset[int]:
        """Give what the statement names as its object; for an index, its table."""
        return frozenset(
            each.table or oid
            for oid, each in self.before.items()
            if self.targets.name(each.schema, each.bare_name)
        )


def _is_full_vacuum(statement: Statement) -> bool:
    return statement.kind == "vacuum_stmt" and option_is_on(
        statement.node.options, "full", default=False
    )


def _reason(bits: int) -> str:
    return ", ".join(word for bit, word in _REASONS.items() if bits & bit) or "unknown"


def _gone(notes: Sequence[Mapping[str, Any]]) -> Iterator[Gone]:
    """Give what was dropped and named, and what went with it because it depended on it.

    A part of something that is gone is not told by itself: it is called `… on app.t`.
    """
    drops = [note for note in notes if note["what"] == "drop"]
    wholes = {note["identity"] for note in drops}
    for note in drops:
        identity, original = str(note["identity"]), bool(note["original"])
        if original or (note["normal"] and _whole_of(identity) not in wholes):
            yield Gone(kind=note["kind"], identity=identity, cascade=not original)


def _whole_of(identity: str) -> str:
    """Give the table that a part is of: `c on app.t`, a default `for app.t.id`."""
    _, of, whole = identity.rpartition(" on ")
    if not of and identity.startswith("for "):
        return identity.removeprefix("for ").rpartition(".")[0]
    return whole if of else ""


def _hidden(notes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    return (
        f"{note['tag']} {note['identity'] or ''}".strip()
        for note in notes
        if note["what"] == "ddl" and not str(note["identity"]).startswith("pg_temp.")
    )


def _made(
    notes: Sequence[Mapping[str, Any]],
    old: Mapping[int, Relation],
    seen: Probe,
    granted: Iterable[str],
) -> Iterator[str]:
    """Name what a statement made or changed, as the server writes identities."""
    named = [str(note["identity"]) for note in notes if note["what"] == "ddl" and note["identity"]]
    new = [each.name for oid, each in seen.relations.items() if oid not in old]
    yield from dict.fromkeys([*named, *new, *granted])
