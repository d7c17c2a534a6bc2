"""Making test databases: a template for what they hold, and clones of it.

A template is made once on a server, by whoever comes first, under a lock; its key is the hash of
the migrations and of all else that the building follows from. (Cloning templates that are named by
such a hash, under an advisory lock, is the idea of pgtestdb, a library for Go.)
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from psycopg import sql

from headwater.checks.building import apply_in_order
from headwater.checks.kept import key_of
from headwater.checks.reading import read_grammar
from headwater.errors import (
    FilesError,
    HeadwaterError,
    LockBusy,
    MigrationFailed,
    TargetError,
    Unreachable,
)
from headwater.model import Notify, Said, Target, ignore, plural
from headwater.postgres.connect import Connection, connect, pin_for_bookkeeping, with_database
from headwater.postgres.databases import (
    add_to_comment,
    create_database,
    drop_database,
    scratch_database,
    strategy_of,
    wait_until_empty,
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
)
from headwater.postgres.translate import translated
from headwater.testing.databases import PREFIX, Database, note_of_making
from headwater.testing.project import Project

APPLICATION = "headwater test "
"""What the sessions call themselves that make the databases of a run; its maker follows."""

_PAUSE_S = 0.02
_LONGEST_BUILD_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a test database holds: nothing, or what these migrations build."""

    versions: tuple[str, ...] = ()


NOTHING = Contents()


class Workshop:
    """Makes and drops test databases over one connection; threads take turns."""

    def __init__(self, server: Target, project: Project, *, notify: Notify = ignore) -> None:
        """Remember where; the connection is opened when it is first needed."""
        self.server = server
        self.project = project
        self.notify = notify
        self._turn = threading.RLock()
        self._open = ExitStack()
        self._connection: Connection | None = None
        self._templates = dict[Contents, str]()
        self._failures = dict[Contents, HeadwaterError]()
        self._strategy: tuple[sql.Composable, ...] = ()

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
        with self.connection() as connection:
            try:
                return self._make(connection, contents, note)
            except Unreachable:
                raise
            except TargetError:
                # Another run has swept the template since we looked.
                if self._templates.pop(contents, None) is None:
                    raise
                return self._make(connection, contents, note)

    def _make(self, connection: Connection, contents: Contents, note: str) -> Database:
        template = self._template(connection, contents)
        name = name_with_maker(PREFIX)
        create_database(
            connection,
            name,
            *self._strategy,
            template=template or "template0",
            note="\n".join(filter(None, [note_of_making(), note])),
        )
        made = Database(
            target=with_database(self.server, name, "test database"), project=self.project
        )
        if not template:
            self._fill(made.target, contents.versions)
        return made

    def drop(self, name: str) -> None:
        """Drop a database with whatever session is left in it."""
        with self.connection() as connection:
            wait_until_empty(connection, name)
            drop_database(connection, name)

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
            raise self._failures[contents]
        if contents not in self._templates:
            try:
                self._templates[contents] = self._ready(connection, contents)
            except (FilesError, MigrationFailed) as error:
                # The files stay as they were read: they would fail for each test anew.
                self._failures[contents] = error
                raise
        return self._templates[contents]

    def _ready(self, connection: Connection, contents: Contents) -> str:
        if not contents.versions:
            return ""
        keys = self._keys(connection, contents)
        if longest(connection, keys, self._name) < len(keys):
            with _only_here(connection, self.server, keys[-1], self.notify):
                there = longest(connection, keys, self._name)
                if there < len(keys) and not self._build(connection, contents, keys, there):
                    return ""
        return name_of_template(keys[-1])

    @property
    def _name(self) -> str:
        return project_of(self.project.settings)

    def _keys(self, connection: Connection, contents: Contents) -> tuple[str, ...]:
        chosen = [m for m in self.project.folder.migrations if m.version in contents.versions]
        code = key_of("test databases")
        return keys_of(connection, self.project.settings, chosen, (), code=code)

    def _build(
        self, connection: Connection, contents: Contents, keys: Sequence[str], there: int
    ) -> bool:
        """Build a template from the one of the first `there` files; say whether it can be one."""
        self._refuse_escapes()
        count = len(keys) - there
        self.notify(Said(message=f"building the tests' template: {plural(count, 'migration')}"))
        template = name_of_template(keys[there - 1]) if there else ""
        with scratch_database(self.server, connection=connection, template=template) as scratch:
            self._fill(scratch, contents.versions, there=there)
            with connect(scratch, purpose="test"):
                # A first session writes down what every one reads when it begins; that is cloned.
                pass
            return make_template(connection, scratch.database, keys[-1], self._name)

    def _refuse_escapes(self) -> None:
        escapes = read_grammar(self.project.folder).escapes(ours=True)
        if escapes:
            raise FilesError("the migrations reach beyond their database", findings=escapes)

    def _fill(self, target: Target, versions: Sequence[str], *, there: int = 0) -> None:
        apply_in_order(self.project.folder, self.project.settings, target, versions, there=there)


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


@contextmanager
def _only_here(connection: Connection, server: Target, key: str, notify: Notify) -> Generator[None]:
    """Hold the server's lock of a template; wait for whoever holds it, and say so once.

    Raises LockBusy after ten minutes.
    """
    lock = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)
    deadline = time.monotonic() + _LONGEST_BUILD_S
    told = False
    while not try_lock(connection, lock):
        if time.monotonic() > deadline:
            raise LockBusy(
                f"another run builds the tests' template on {server} for ten minutes now",
                detail=holder_of(connection, lock),
                hint="end that session if it hangs, and run the tests again",
            )
        if not told:
            notify(Said(message=f"waiting for {holder_of(connection, lock)}"))
            told = True
        time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        with translated("giving back the lock"):
            connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (lock,))
