"""Scratch databases built from files: cloned from what an earlier run built, as far as that goes.

A build that was proved whole (every file ran, every down file undoes its migration) is kept as a
template, so that an unchanged prefix of the files is neither replayed nor proved again. Beside it
its snapshot is kept, which counts only while that template is there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from headwater.checks import kept
from headwater.checks.rebuilding import apply_files, snapshot_at
from headwater.checks.scratch import ScratchServer
from headwater.checks.undoing import prove_undo
from headwater.errors import HeadwaterError, TargetError
from headwater.files.accepted import Sentence
from headwater.model import Finding, Migration, MigrationFolder, Target
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping
from headwater.postgres.databases import Locale, drop_database, scratch_database
from headwater.postgres.pooler import require_own_session
from headwater.postgres.templates import (
    keys_of,
    longest,
    make_template,
    name_of_template,
    project_of,
    roles_of,
    sweep,
)
from headwater.postgres.translate import translated
from headwater.schema.catalog import CatalogObject, snapshot_of_form, snapshot_to_form
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import Change, ChangeKind, Step, Thing


@dataclass(slots=True, kw_only=True)
class Built:
    """What some files build: a new database, or a template, which is cloned when it is needed."""

    settings: Settings
    clone: Callable[[], Target]
    roles: Callable[[], object]
    """The roles of the server, on which checks may depend."""
    key: str = ""
    """That of the template; empty while there is none."""
    database: Target | None = None
    undoing: tuple[Finding, ...] = ()
    """What is wrong with the down files of those that were run, and not cloned."""
    read: Snapshot | None = None
    held: Sequence[Sentence] = ()
    fit: str = ""
    """The key of the seeds that are known to fit."""

    @property
    def target(self) -> Target:
        """Give a database that the files have built; it is this run's own."""
        if self.database is None:
            self.database = self.clone()
        return self.database

    def snapshot(self) -> Snapshot:
        """Read what the files give, unless that was kept with the template."""
        if self.read is None and self.key:
            self.read = snapshot_of_form(kept.recall("snapshots", kept.key_of(self.key)))
        if self.read is None:
            self.read = snapshot_at(self.target, self.settings)
            self.keep_answers()
        return self.read

    def is_known_to_hold(self, sentences: Sequence[Sentence]) -> bool:
        """Say whether these checks held of this template before."""
        held = kept.recall("checks", self._key_of_checks(sentences)) if self.key else None
        return isinstance(held, dict)

    def note_held(self, sentences: Sequence[Sentence]) -> None:
        """Note that these checks hold."""
        self.held = sentences
        self.keep_answers()

    def is_known_to_fit(self, seeds: str) -> bool:
        """Say whether these seeds ran on a copy of this template before, twice."""
        return bool(self.key) and isinstance(kept.recall("seeds", self._key_of_seeds(seeds)), dict)

    def note_fit(self, seeds: str) -> None:
        """Note that these seeds fit, by their key."""
        self.fit = seeds
        self.keep_answers()

    def _key_of_seeds(self, seeds: str) -> str:
        return kept.key_of(self.key, seeds, self.roles())

    def _key_of_checks(self, sentences: Sequence[Sentence]) -> str:
        asked = [(each.sentence, each.query) for each in sentences]
        return kept.key_of(self.key, asked, self.roles())

    def keep_answers(self) -> None:
        """Keep what was found, once there is a template."""
        if self.key and self.read is not None:
            kept.keep("snapshots", kept.key_of(self.key), snapshot_to_form(self.read))
        if self.key and self.held:
            kept.keep("checks", self._key_of_checks(self.held), {"hold": len(self.held)})
        if self.key and self.fit:
            kept.keep("seeds", self._key_of_seeds(self.fit), {"fit": self.fit})


@dataclass(slots=True, kw_only=True)
class Workshop:
    """Where scratch databases are made for one target: the server, and a connection to it."""

    server: Target
    connection: Connection
    locale: Locale
    """The target's, which they have."""
    folder: MigrationFolder
    settings: Settings
    files: dict[str, Migration] = field(init=False)
    scratches: list[str] = field(init=False, default_factory=list)
    """The names of all that were made here; most are dropped again."""
    is_over: bool = field(init=False, default=False)
    """Whether nothing more is to be made here."""

    def __post_init__(self) -> None:
        """Index the files."""
        self.files = {migration.version: migration for migration in self.folder.migrations}

    @contextmanager
    def another(self) -> Generator[Workshop]:
        """Give another one, with a connection of its own, for another thread."""
        with _admin(self.server) as connection:
            yield replace(self, connection=connection)

    def end(self, other: Workshop) -> None:
        """End what another thread does in another one: its databases are dropped under it.

        Whatever it waits for there fails. To be done again until that thread has ended.
        """
        other.is_over = True
        for name in tuple(other.scratches):
            with suppress(HeadwaterError):
                drop_database(self.connection, name)

    @contextmanager
    def build(self, versions: Sequence[str]) -> Generator[Built]:
        """Give a database in which these files were run in this order; drop it afterwards.

        Afterwards it is kept as a template instead, when it is new and nothing was wrong. Raises
        the error of a file that fails.
        """
        keys = self._keys(versions)
        with ExitStack() as stack:
            count = longest(self.connection, keys, project_of(self.settings))
            if count and count == len(keys):
                # Cloned only when somebody wants to enter it.
                yield Built(
                    settings=self.settings,
                    roles=self._roles,
                    clone=lambda: self._build(stack, versions, keys, count)[0],
                    key=keys[-1],
                )
                return
            scratch, undoing = self._build(stack, versions, keys, count)
            built = Built(
                settings=self.settings,
                roles=self._roles,
                clone=lambda: scratch,
                database=scratch,
                undoing=tuple(undoing),
            )
            yield built
            if keys and not undoing:
                self._make_template(built, scratch, keys)

    @contextmanager
    def spare(self, built: Built) -> Generator[Target]:
        """Give a copy of what was built, to be changed at will; drop it afterwards.

        Nobody else may be connected to the database that is copied.
        """
        with ExitStack() as stack:
            scratch = None
            if built.key and built.database is None:
                with suppress(TargetError):  # another run has swept the template meanwhile
                    scratch = self._made(stack, name_of_template(built.key))
            yield scratch or self._made(stack, built.target.database)

    def _roles(self) -> object:
        return roles_of(self.connection)

    def _keys(self, versions: Sequence[str]) -> tuple[str, ...]:
        files = [self.files[version] for version in versions]
        return keys_of(self.connection, self.settings, files, self.locale, code=kept.key_of())

    def _make_template(self, built: Built, scratch: Target, keys: Sequence[str]) -> None:
        """Make a template of what was built, and keep what was found of it."""
        if make_template(self.connection, scratch, keys[-1], project_of(self.settings)):
            built.key = keys[-1]
            built.keep_answers()

    def _build(
        self, stack: ExitStack, versions: Sequence[str], keys: Sequence[str], count: int
    ) -> tuple[Target, list[Finding]]:
        """Clone the template of the first `count` files, and run the rest."""
        scratch, there = self._begin(stack, keys, count)
        return scratch, self._run(scratch, versions, there)

    def _begin(self, stack: ExitStack, keys: Sequence[str], count: int) -> tuple[Target, int]:
        """Clone the template of the first `count` files; say how many are in the database.

        None are when another run has swept it meanwhile.
        """
        if count:
            with suppress(TargetError):
                return self._made(stack, name_of_template(keys[count - 1])), count
        return self._made(stack, ""), 0

    def _made(self, stack: ExitStack, template: str) -> Target:
        if self.is_over:
            raise HeadwaterError("no scratch database is made any more: the run has ended")
        scratch = stack.enter_context(
            scratch_database(
                self.server, locale=self.locale, connection=self.connection, template=template
            )
        )
        self.scratches.append(scratch.database)
        return scratch

    def _run(self, scratch: Target, versions: Sequence[str], cloned: int) -> list[Finding]:
        """Run what is not there yet, and prove each down file on the way."""
        findings = list[Finding]()
        there = cloned

        def run_up_to(end: int) -> None:
            nonlocal there
            self._apply(scratch, versions[:end], there)
            there = end

        for number in range(cloned, len(versions)):
            if self.files[versions[number]].down is not None:
                run_up_to(number)
                before = snapshot_at(scratch, self.settings)
                run_up_to(number + 1)
                findings += self._prove(scratch, versions[: number + 1], before)
        run_up_to(len(versions))
        return findings

    # --- file by file -------------------------------------------------------------------------

    @contextmanager
    def replay(self, versions: Sequence[str]) -> Generator[Iterator[tuple[str, Target]]]:
        """Run files one by one, giving the database before the first ("") and behind each."""
        with ExitStack() as stack:
            scratch = self._made(stack, "")

            def behind_each() -> Iterator[tuple[str, Target]]:
                yield "", scratch
                for number, version in enumerate(versions):
                    self._apply(scratch, versions[: number + 1], number)
                    yield version, scratch

            yield behind_each()

    def walk(self, versions: Sequence[str]) -> Iterator[Step]:
        """Give what each file changes, in order; what is known of unchanged files is not replayed.

        When something was replayed, and no down file is to be proved, the end becomes a template.
        """
        keys = self._keys(versions)
        known = [step_of_form(kept.recall("steps", kept.key_of(key))) for key in keys]
        first = known.index(None) if None in known else len(keys)
        yield from (step for step in known[:first] if step is not None)
        if first < len(keys):
            yield from self._walk_from(first, versions, keys)

    def _walk_from(
        self, first: int, versions: Sequence[str], keys: Sequence[str]
    ) -> Iterator[Step]:
        with ExitStack() as stack:
            count = longest(self.connection, keys[:first], project_of(self.settings))
            scratch, there = self._begin(stack, keys, count)
            self._apply(scratch, versions[:first], there)
            before = snapshot_at(scratch, self.settings)
            for number in range(first, len(versions)):
                self._apply(scratch, versions[: number + 1], number)
                after = snapshot_at(scratch, self.settings)
                step = _step(versions[number], before, after)
                kept.keep("steps", kept.key_of(keys[number]), asdict(step))
                yield step
                before = after
            if all(self.files[version].down is None for version in versions):
                built = Built(
                    settings=self.settings, roles=self._roles, clone=lambda: scratch, read=before
                )
                self._make_template(built, scratch, keys)

    def _apply(self, scratch: Target, versions: Sequence[str], there: int) -> None:
        apply_in_order(self.folder, self.settings, scratch, versions, there=there)

    def _prove(self, scratch: Target, versions: Sequence[str], before: Snapshot) -> list[Finding]:
        """Undo the last migration, and do it again, on a clone: what is built stays as it is."""
        after = snapshot_at(scratch, self.settings)
        with scratch_database(
            self.server, connection=self.connection, template=scratch.database
        ) as clone:
            return prove_undo(clone, self.folder, self.settings, versions, before, after)


def _step(version: str, before: Snapshot, after: Snapshot) -> Step:
    """Say what a migration made, dropped and changed."""
    mine, theirs = before.objects, after.objects
    schemas = {each.schema for each in (*mine.values(), *theirs.values())}
    changes = compare(before, after, schemas=sorted(schemas))
    return Step(
        version=version,
        made=tuple(_thing(theirs[each]) for each in theirs if each not in mine),
        gone=tuple(_thing(mine[each]) for each in mine if each not in theirs),
        changed=tuple(change for change in changes if change.change is ChangeKind.CHANGED),
    )


def _thing(found: CatalogObject) -> Thing:
    return Thing(object=found.identity, kind=found.kind, parent=found.parent)


def step_of_form(form: Any) -> Step | None:
    """Read a step that was kept; None when it cannot be understood."""
    try:
        return Step(
            version=form["version"],
            made=tuple(Thing(**each) for each in form["made"]),
            gone=tuple(Thing(**each) for each in form["gone"]),
            changed=tuple(
                Change(**{**each, "change": ChangeKind(each["change"])}) for each in form["changed"]
            ),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def apply_in_order(
    folder: MigrationFolder,
    settings: Settings,
    scratch: Target,
    versions: Sequence[str],
    *,
    there: int = 0,
) -> None:
    """Apply versions in this order, but for the first ones, which are `there`.

    One `migrate` builds a run of versions that ascend by name.
    """
    for index in range(there, len(versions)):
        if index + 1 == len(versions) or versions[index + 1] < versions[index]:
            apply_files(folder, settings, scratch, versions[: index + 1])


@contextmanager
def workshop(
    place: ScratchServer, folder: MigrationFolder, settings: Settings, locale: Locale
) -> Generator[Workshop]:
    """Open the connection over which scratch databases are made."""
    with _admin(place.target) as connection:
        sweep(connection, project_of(settings))
        yield Workshop(
            server=place.target,
            connection=connection,
            locale=locale,
            folder=folder,
            settings=settings,
        )


@contextmanager
def _admin(server: Target) -> Generator[Connection]:
    """Open a connection over which scratch databases are made and dropped."""
    with (
        translated("building from nothing"),
        connect(server, purpose="scratch") as connection,
    ):
        require_own_session(connection, server)
        pin_for_bookkeeping(connection)
        yield connection
