"""The trace of files that are to be applied: on scratch databases that hold what is before each.

Every file is run the way `migrate` does, which says whether it works and what it does to the
schema; and statement by statement on a copy, which says what each of them locks and does. Both go
on at the same time, in two threads, unless a file may do something that both would see: to a role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import NamedTuple

from headwater.checks.building import Built, Workshop, workshop
from headwater.checks.catalogue import Fact, catalogue_facts, new_facts
from headwater.checks.rules.traced import FAILS
from headwater.checks.scratch import ScratchServer, scratch_server
from headwater.errors import HeadwaterError, TargetError
from headwater.files.accepted import Accepted
from headwater.files.grammar import Statement
from headwater.files.serverwide import escaping, reaches_beyond, reads_the_machine
from headwater.files.text import line_at, without_secrets
from headwater.model import Finding, MigrationFolder, Notify, Said, Target, ignore
from headwater.postgres.connect import Connection, connect
from headwater.postgres.databases import locale_of
from headwater.postgres.tracing import replay, trace
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import Traced

# Up to here it is cheaper to ask behind each statement than to run the file once more (measured:
# to ask takes 12 ms, to make a copy and to drop it 100).
_FEW = 8

# From here on somebody wants to know how far it has come.
_MANY = 5


# What opens a door to code of any kind, which may make a role, or change a setting of one.
_OPAQUE = frozenset({"do_stmt", "call_stmt", "select_stmt"})

# How often it is tried to end what goes on in another thread.
_ENDING_S = 0.1


class Found(NamedTuple):
    """A fact that was not there before a file, and the number of the statement that made it so."""

    fact: Fact
    number: int


_Seen = tuple[Traced, tuple[Found, ...], frozenset[Fact] | None]
"""A trace; what is questionable since then; all that is so behind it, if the file came so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What the trace of several files has shown; `failures` say which file does not work.

    `notes` say what could not be traced; `version` is the major version of the target's server.
    """

    version: int
    traces: tuple[Traced, ...] = ()
    facts: tuple[tuple[Found, ...], ...] = ()
    """For each trace what the catalogue holds since then, and would be regretted."""
    failures: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """Give what the traces say of signals that there were not, each once."""
        return tuple(dict.fromkeys(note for traced in self.traces for note in traced.notes))

    @property
    def is_whole(self) -> bool:
        """Say whether everything was run, and every signal seen."""
        broken = any(traced.error for traced in self.traces)
        return not (self.failures or self.notes or self.lost or broken)


def trace_files(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    *,
    before: Sequence[str],
    files: Sequence[Accepted],
    notify: Notify = ignore,
) -> Tracing:
    """Trace files, in order, behind those that are there `before` them; nothing but SELECTs there.

    Where there is no place for scratch databases, or what is before does not build, a note says
    so. A file that fails ends the trace: what is behind it was written to follow it.
    """
    with connect(target, purpose="lint") as connection:
        version = connection.info.server_version // 1_00_00
        place = scratch_server(connection, target, settings, notify)
        if isinstance(place, str):
            return Tracing(version=version, notes=(f"nothing was run: {place}",))
        locale = locale_of(connection)
    notify(Said(message="running the files on a scratch database"))
    try:
        with workshop(place, folder, settings, locale) as shop:
            tracer = _Tracer(shop, place, settings, tuple(before), tuple(files), notify)
            return replace(tracer.tracing(), version=version)
    except TargetError as error:
        return Tracing(version=version, notes=(f"nothing was run: {error.message}",))


@dataclass(frozen=True, slots=True)
class _Tracer:
    """The files to trace, and where."""

    shop: Workshop
    place: ScratchServer
    settings: Settings
    before: tuple[str, ...]
    files: tuple[Accepted, ...]
    notify: Notify

    def tracing(self) -> Tracing:
        """Run each file whole, and statement by statement."""
        snapshots, end, seen = self._run_both_ways()
        traces, found = list[Traced](), list[tuple[Found, ...]]()
        end_facts: frozenset[Fact] | None = None
        for number, (alone, facts, after) in enumerate(seen):
            traced = alone
            found.append(facts)
            end_facts = after if after is not None else end_facts
            if number + 1 < len(snapshots):
                changes = compare(
                    snapshots[number], snapshots[number + 1], schemas=self.settings.schemas
                )
                traced = replace(traced, changes=changes)
            traces.append(traced)
        if traces and not traces[-1].error:
            left = set(traces[-1].unfinished_then)
            traces = [_lasting(traced, left) for traced in traces]
        # What a later file of the same run mends is nobody's trouble: NOT VALID, then VALIDATE.
        lasting = (
            tuple(one for one in each if end_facts is None or one.fact in end_facts)
            for each in found
        )
        return replace(end, traces=tuple(traces), facts=tuple(lasting))

    def _versions(self, count: int) -> list[str]:
        return [*self.before, *(file.migration.version for file in self.files[:count])]

    def _run_both_ways(self) -> tuple[list[Snapshot], Tracing, list[_Seen]]:
        """Run the files whole, and statement by statement: at the same time, where they may be.

        What goes wrong in the whole run is told first, as if that had come first.
        """
        if any(_may_change_the_server(file) for file in self.files):
            snapshots, end = self._run_whole()
            return snapshots, end, self._trace_each(range(len(self.files[: len(snapshots)])))
        ready = SimpleQueue[int | None]()
        with self.shop.another() as other, ThreadPoolExecutor(1) as aside:
            tracer = replace(self, shop=other)
            seen = aside.submit(tracer._trace_each, iter(ready.get, None))
            try:
                snapshots, end = self._run_whole(ready.put)
                ready.put(None)
                return snapshots, end, seen.result()
            except BaseException:
                # Whoever presses Ctrl-C does not want to wait for what a file still does.
                ready.put(None)
                while not seen.done():
                    self.shop.end(other)
                    wait([seen], timeout=_ENDING_S)
                raise

    def _trace_each(self, numbers: Iterable[int]) -> list[_Seen]:
        """Trace files, each when its number comes."""
        return [self._trace(number, self.files[number]) for number in numbers]

    def _run_whole(
        self, ready: Callable[[int], object] | None = None
    ) -> tuple[list[Snapshot], Tracing]:
        """Run the files as migrate does, one after the other; give the schema before each.

        The last one is that behind the last file, unless something ended it. `ready` is told of
        each file whose database before it is built.
        """
        snapshots, notes, failures = list[Snapshot](), list[str](), list[Finding]()
        for count in range(len(self.files) + 1):
            if count and (why := self._escapes(self.files[count - 1])):
                notes.append(why)
                break
            if len(self.files) > _MANY and count:
                self.notify(Said(message=f"running file {count} of {len(self.files)}"))
            try:
                with self.shop.build(self._versions(count)) as built:
                    snapshots.append(built.snapshot())
                if ready and count < len(self.files):
                    ready(count)
            except TargetError:
                raise
            except HeadwaterError as error:
                if count:
                    failures.append(_failure(self.files[count - 1], error))
                else:
                    notes.append(
                        f"nothing was run: what is there before does not build: {error.message}"
                    )
                break
        behind = [f"{file.migration.version}.sql" for file in self.files[len(snapshots) :]]
        if behind and snapshots:
            notes.append(f"not run, being behind that: {', '.join(behind)}")
        return snapshots, Tracing(version=0, notes=tuple(notes), failures=tuple(failures))

    def _escapes(self, file: Accepted) -> str:
        """Say why a file must not run as a whole; nothing when it may."""
        name = f"{file.migration.version}.sql"
        found = escaping(file.script, name, roles=not self.place.ours)
        machine = [each for each in file.script.statements if reads_the_machine(each)]
        if machine and not found:
            what = reads_the_machine(machine[0])
            return f"{name} was not run as a whole: line {machine[0].line}: {what}"
        if not found:
            return ""
        return f"{name} was not run as a whole: line {found[0].line}: {found[0].message}"

    def _trace(self, number: int, file: Accepted) -> _Seen:
        """Trace a file: every statement in a transaction of its own, else all in one.

        Gives what was measured, what is questionable since then, and all that is so behind it (None
        when the file did not come so far).
        """
        with self.shop.build(self._versions(number)) as built:
            for together in (True,) if _needs_its_transaction(file) else (False, True):
                traced, facts = self._on_a_copy(built, file, together=together)
                if not traced.error or not file.migration.transactional:
                    break
            if facts is None:
                return traced, (), None
            before, after = facts[0], facts[len(file.script.statements)]
            new = new_facts(before, after)
            if len(facts) > 2:
                found = (Found(fact, _since(fact, facts)) for fact in new)
                return traced, tuple(found), after
            makers = _makers(traced, new)
            if any(len(numbers) > 1 for numbers in makers.values()):
                makers = self._exactly(built, file, makers, together=together)
            found = (Found(fact, numbers[-1]) for fact, numbers in makers.items())
            return traced, tuple(found), after

    def _on_a_copy(
        self, built: Built, file: Accepted, *, together: bool
    ) -> tuple[Traced, dict[int, frozenset[Fact]] | None]:
        """Trace a file on a copy; give what is questionable before it (0) and behind it, too.

        In a file of few statements it is asked behind each of them: who made it is known then.
        """
        facts = dict[int, frozenset[Fact]]()
        last = len(file.script.statements)

        def look(number: int, connection: Connection) -> None:
            if number in (0, last) or last <= _FEW:
                facts[number] = catalogue_facts(connection, self.settings.schemas)

        with self.shop.spare(built) as copy:
            traced = trace(copy, file, self.settings, together=together, look=look)
        return traced, facts if last in facts else None

    def _exactly(
        self, built: Built, file: Accepted, makers: Mapping[Fact, Sequence[int]], *, together: bool
    ) -> dict[Fact, Sequence[int]]:
        """Find the statement behind which each fact holds to the end, by running them once more."""
        unclear = [numbers for numbers in makers.values() if len(numbers) > 1]
        wanted = {number for numbers in unclear for number in numbers}
        since = dict[Fact, int]()

        def look(number: int, connection: Connection) -> None:
            if number in wanted:
                there = catalogue_facts(connection, self.settings.schemas)
                for fact in makers:
                    if fact in there:
                        since.setdefault(fact, number)
                    else:
                        since.pop(fact, None)

        with self.shop.spare(built) as copy:
            replay(copy, file, self.settings, together=together, last=max(wanted), look=look)
        return {
            fact: numbers if len(numbers) == 1 else [since.get(fact, numbers[-1])]
            for fact, numbers in makers.items()
        }


def _lasting(traced: Traced, left: set[str]) -> Traced:
    """Tell what a file left unfinished only where the last one of the run has not finished it."""
    return replace(traced, unfinished=tuple(name for name in traced.unfinished if name in left))


def _may_change_the_server(file: Accepted) -> bool:
    """Say whether a file may do something to the server's roles, which both its runs would share.

    Run one after the other, the second finds done what it has to look for first.
    """
    return any(
        statement.kind in _OPAQUE or reaches_beyond(statement)
        for statement in file.script.statements
    )


def _needs_its_transaction(file: Accepted) -> bool:
    """Say whether a statement means another thing in a transaction of its own.

    SET LOCAL search_path would be gone by the next one, which would then find another table.
    """
    return file.migration.transactional and any(
        _is_for_the_transaction(statement) for statement in file.script.statements
    )


def _is_for_the_transaction(statement: Statement) -> bool:
    text = statement.text.lower()
    match statement.kind:
        case "constraints_set_stmt":
            return True
        case "variable_set_stmt":
            # How long somebody waits changes nothing of what is done.
            return bool(statement.node.is_local) and not statement.node.name.endswith("_timeout")
        case "create_stmt" | "create_table_as_stmt":
            return "on commit" in text
        case "select_stmt":
            return "set_config" in text and "true" in text
        case _:
            return False


def _since(fact: Fact, facts: Mapping[int, frozenset[Fact]]) -> int:
    """Give the number of the statement since which a fact holds to the end."""
    without = [number for number, there in facts.items() if fact not in there]
    return max(without, default=0) + 1


def _makers(traced: Traced, facts: Sequence[Fact]) -> dict[Fact, Sequence[int]]:
    """Give the numbers of the statements that may have made each fact, by what they made."""
    return {
        fact: [ran.number for ran in traced.statements if not set(fact.names).isdisjoint(ran.made)]
        or [ran.number for ran in traced.statements]
        for fact in facts
    }


def _failure(file: Accepted, error: HeadwaterError) -> Finding:
    """Tell of a file that does not run; the place is in the message of the error."""
    name = f"{file.migration.version}.sql"
    line, column, message = _placed(error.message, name)
    # The line and the caret, which stand indented in the detail, are drawn by whoever shows it.
    facts = [each for each in error.detail.splitlines() if not each.startswith("  ")]
    return FAILS.finding(
        file=name,
        line=line or 1,
        column=column or 1,
        source=without_secrets(line_at(file.script.text, line or 1)),
        message=message,
        measured=without_secrets("\n".join(f for f in facts if not f.startswith("context: "))),
    )


def _placed(message: str, file: str) -> tuple[int, int, str]:
    """Take the place from the beginning of a message: `20240101_x.sql:3:12: …`."""
    place, _, rest = message.partition(": ")
    name, _, numbers = place.partition(":")
    line, _, column = numbers.partition(":")
    if name != file or not line.isdigit():
        return 0, 0, message
    return int(line), int(column) if column.isdigit() else 1, rest
