"""Making test databases: a template for what they hold, and clones of it.

A template is made once on a server, by whoever comes first, under a lock; its key is the hash of
the migrations and of all else that the building follows from. (Cloning templates that are named by
such a hash, under an advisory lock, is the idea of pgtestdb, a library for Go.)
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

import psycopg
from psycopg import sql

from headwater.checks.kept import key_of
from headwater.errors import (
    FilesError,
    HalfDone,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    SeedFailed,
    TargetError,
    Unreachable,
)
from headwater.files.seeds import read_seeds
from headwater.model import Migration, Notify, Said, Target, ignore, plural
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping, with_database
from headwater.postgres.databases import (
    MARK,
    add_to_comment,
    create_database,
    drop_left_database,
    scratch_database,
    strategy_of,
)
from headwater.postgres.lock import holder_of, try_lock
from headwater.postgres.makers import name_with_maker, this_process
from headwater.postgres.pooler import require_own_session
from headwater.postgres.templates import (
    keys_of,
    longest,
    make_template,
    name_of_template,
    project_of,
    roles_named_in,
)
from headwater.postgres.translate import translated
from headwater.testing.databases import PREFIX, Database, note_of_making
from headwater.testing.project import NOTHING, Contents, Project

APPLICATION = "headwater test "
"""What the sessions call themselves that make the databases of a run; its maker follows."""

_PAUSE_S = 0.02
_LONGEST_BUILD_S = 600.0


class Cloner:
    """Makes and drops test databases over one connection; threads take turns."""

    def __init__(
        self,
        server: Target,
        project: Project,
        *,
        notify: Notify = ignore,
        given_up: threading.Event | None = None,
    ) -> None:
        """Remember where; the connection is opened when it is first needed.

        Once `given_up` is set, it waits for no other run any more.
        """
        self.server = server
        self.project = project
        self.notify = notify
        self._given_up = given_up or threading.Event()
        self._turn = threading.RLock()
        self._open = ExitStack()
        self._connection: Connection | None = None
        self._templates = dict[Contents, str]()
        self._failures = dict[Contents, HeadwaterError]()
        self._strategy: tuple[sql.Composable, ...] = ()
        _cloners.add(self)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._connection = None
            self._open.close()

    def disown(self) -> None:
        """Leave the session to the parent process."""
        if self._connection is not None:
            disown(self._connection)

    @contextmanager
    def connection(self) -> Generator[Connection]:
        """Give the connection to the server, for one thread at a time; a lost one is replaced."""
        with self._turn:
            if self._connection is None or self._connection.broken:
                self.close()
                self._connection = self._open.enter_context(_session(self.server))
                self._strategy = strategy_of(self._connection)
            yield self._connection

    def make(self, contents: Contents, *, note: str = "") -> Database:
        """Make a database that holds this; clone it where there can be a template of it.

        `note` is one more line for its comment. Raises the error of a migration that fails,
        FilesError for one that reaches beyond its database, TargetError when the server makes none.
        """
        used: Connection | None = None
        try:
            with self.connection() as used:
                return self._make(used, contents, note)
        except TargetError as error:
            # Another run has swept the template, or the one it is built from, since we looked; or
            # the server has ended our session meanwhile.
            if isinstance(error, Unreachable) and not (used and used.broken):
                raise
            self._templates.pop(contents, None)
        with self.connection() as connection:
            return self._make(connection, contents, note)

    def _make(self, connection: Connection, contents: Contents, note: str) -> Database:
        template = self._template(connection, contents)
        name = name_with_maker(PREFIX)
        notes = [line for line in (note_of_making(), note) if line]
        target = with_database(self.server, name, "test database")
        try:
            create_database(
                connection,
                name,
                *self._strategy,
                template=template or "template0",
                note="\n".join(notes),
            )
            if not template:
                self._fill(target, contents)
                # Files that cannot be cloned may have written a comment of their own.
                add_to_comment(connection, name, MARK, *notes)
        except BaseException:
            with suppress(HeadwaterError):  # what went wrong first is told
                self.drop(name)
            raise
        return Database(target=target, project=self.project)

    def drop(self, name: str) -> None:
        """Drop a database with whatever session is left in it."""
        with self.connection() as connection:
            drop_left_database(connection, name)

    def add_note(self, name: str, note: str) -> None:
        """Write one more line into the comment on a database that we made."""
        with self.connection() as connection:
            add_to_comment(connection, name, note)

    # --- templates ----------------------------------------------------------------------------

    def _template(self, connection: Connection, contents: Contents) -> str:
        """Give the name of the template, making it first; "" where a clone would not be the same.

        That is so where files set something of the database itself, which stands in catalogues
        that all databases share.
        """
        if contents in self._failures:
            raise self._failures[contents].with_traceback(None)
        if contents not in self._templates:
            try:
                self._templates[contents] = self._ready(connection, contents)
            except (FilesError, MigrationFailed, HalfDone, SeedFailed) as error:
                # The files stay as they were read: they would fail for each test anew.
                self._failures[contents] = error
                raise
        return self._templates[contents]

    def _ready(self, connection: Connection, contents: Contents) -> str:
        if contents == NOTHING:
            return ""
        keys = self._keys(connection, contents)
        if longest(connection, keys, self._name) < len(keys):
            with self._only_here(connection, contents):
                # Again: who had the lock before us has made it, and roles that files name, too.
                keys = self._keys(connection, contents)
                there = longest(connection, keys, self._name)
                if there < len(keys):
                    return self._build(connection, contents, keys, there)
        return name_of_template(keys[-1])

    @property
    def _name(self) -> str:
        return project_of(self.project.settings)

    def _files(self, contents: Contents) -> list[Migration]:
        return [m for m in self.project.folder.migrations if m.version in contents.versions]

    def _keys(self, connection: Connection, contents: Contents) -> tuple[str, ...]:
        """Give the key of each prefix of the files; the seeds, when they are wanted, come last.

        Not those of `verify`, which has proved of its templates that down files undo them.
        """
        code = key_of("test databases")
        chosen = self._files(contents)
        keys = keys_of(connection, self.project.settings, chosen, (), code=code)
        if not contents.seeded:
            return keys
        seeds = self.project.seeds
        named = roles_named_in(connection, "\n".join(seed.text for seed in seeds.seeds))
        follows = [keys[-1] if keys else code, seeds.checksum, named]
        text = json.dumps(follows, sort_keys=True)
        return (*keys, hashlib.sha256(text.encode()).hexdigest())

    def _build(
        self, connection: Connection, contents: Contents, keys: Sequence[str], there: int
    ) -> str:
        """Build a template from the one of the first `there` files; give its name.

        It gets the key that the files have now: the roles that they made, which outlive the build,
        are a part of that. "" when it cannot be a template.
        """
        self._refuse_escapes()
        count = max(len(contents.versions) - there, 0)
        seeds = ", and the seeds" if contents.seeded else ""
        told = f"building the tests' template: {plural(count, 'migration')}{seeds}"
        self.notify(Said(message=told))
        template = name_of_template(keys[there - 1]) if there else ""
        with scratch_database(self.server, connection=connection, template=template) as scratch:
            self._fill(scratch, contents, there=there)
            keys = self._keys(connection, contents)
            if make_template(connection, scratch, keys[-1], self._name):
                return name_of_template(keys[-1])
        # A run that locked in another database of this server does not see our lock, and may have
        # been first.
        was_faster = longest(connection, keys, self._name) == len(keys)
        return name_of_template(keys[-1]) if was_faster else ""

    @contextmanager
    def _only_here(self, connection: Connection, contents: Contents) -> Generator[None]:
        """Hold the server's lock of what these files build; wait for whoever holds it.

        (Not that of a template's key: roles that the files make while they run are a part of it.)
        Says once whom it waits for. Raises LockBusy after ten minutes.
        """
        files = [(m.version, m.checksum) for m in self._files(contents)]
        seeds = self.project.seeds.checksum if contents.seeded else ""
        digest = hashlib.sha256(json.dumps([files, seeds]).encode()).digest()
        lock = int.from_bytes(digest[:8], signed=True)
        deadline = time.monotonic() + _LONGEST_BUILD_S
        told = False
        while not try_lock(connection, lock):
            if time.monotonic() > deadline:
                raise LockBusy(
                    f"another run builds the tests' template on {self.server} for ten minutes now",
                    detail=holder_of(connection, lock),
                    hint="end that session if it hangs, and run the tests again",
                )
            if not told:
                self.notify(Said(message=f"waiting for {holder_of(connection, lock)}"))
                told = True
            if self._given_up.wait(_PAUSE_S):
                raise LockBusy("nobody needs the tests' template any more")
        try:
            yield
        finally:
            # A session that is lost has lost its lock.
            with suppress(psycopg.Error):
                connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (lock,))

    def _refuse_escapes(self) -> None:
        from headwater.checks.reading import read_grammar  # only now: a template is to be built

        escapes = read_grammar(self.project.folder).escapes(ours=True)
        if escapes:
            raise FilesError("the migrations reach beyond their database", findings=escapes)

    def _fill(self, target: Target, contents: Contents, *, there: int = 0) -> None:
        """Run the files behind the first `there`, and then the seeds."""
        # Only now: where the template is there already, tests need not wait for all that.
        from headwater.checks.building import apply_in_order

        settings = self.project.settings
        apply_in_order(self.project.folder, settings, target, contents.versions, there=there)
        if contents.seeded:
            from headwater.postgres.seeding import apply_seeds

            apply_seeds(target, self.project.seeds, settings)
            self._require_unchanged_seeds()

    def _require_unchanged_seeds(self) -> None:
        """Refuse what a seed has read from its folder after that was edited: the key is older."""
        if read_seeds(self.project.settings).checksum != self.project.seeds.checksum:
            raise TargetError("the seeds were edited while they ran", hint="run the tests again")


def disown(connection: Connection) -> None:
    """Leave a session to the parent process: whatever this one still writes goes nowhere."""
    if not connection.closed:
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, connection.fileno())
        os.close(nowhere)


_cloners = weakref.WeakSet[Cloner]()


def _disown_all() -> None:
    """In a forked child: its end would say goodbye to the server over the parent's connections."""
    for cloner in list(_cloners):
        cloner.disown()


os.register_at_fork(after_in_child=_disown_all)


@contextmanager
def _session(server: Target) -> Generator[Connection]:
    """Open a session that makes databases; it says whose, for as long as it lasts."""
    with connect(server, purpose="test") as connection:
        require_own_session(connection, server)
        with translated("making test databases"):
            pin_for_bookkeeping(connection)
            connection.execute(
                "SELECT pg_catalog.set_config('application_name', %s, false)",
                (f"{APPLICATION}{this_process()}",),
            )
        yield connection
