"""Cursors that look at what each statement found, and tell of one that found nothing.

Whoever watches a connection gives it, for a block, cursors of its own kind with a look added: those
of the client and of the server, pipelines, COPY and streams.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import PipelineStatus

Connection = psycopg.Connection[Any]

Tell = Callable[[str], None]
"""Takes the status of a statement that found nothing: `SELECT 0`."""

# The blocks that a connection is in, the innermost last; None is one that is not to be told.
_told: WeakKeyDictionary[Connection, list[Tell | None]] = WeakKeyDictionary()


@contextmanager
def watched(connection: Connection, tell: Tell | None) -> Generator[None]:
    """Tell of each statement that finds nothing in a block; with None not even a block around it.

    One row of only zeros, falses, empty texts or nulls is nothing, too: aggregates give it of no
    rows.
    """
    blocks = _told.setdefault(connection, [])
    before: tuple[Any, Any] = connection.cursor_factory, connection.server_cursor_factory
    if tell is not None:
        connection.cursor_factory = _watching(before[0])
        connection.server_cursor_factory = _watching(before[1])
    after: tuple[Any, Any] = connection.cursor_factory, connection.server_cursor_factory
    blocks.append(tell)
    try:
        yield
    finally:
        blocks.pop()
        # A factory that the test has put there meanwhile stays.
        if connection.cursor_factory is after[0]:
            connection.cursor_factory = before[0]
        if connection.server_cursor_factory is after[1]:
            connection.server_cursor_factory = before[1]


@cache
def _watching(base: Any) -> Any:
    """Give a class of cursors that does what another one does, and looks at what was found."""
    if isinstance(base, type) and issubclass(base, _Looking):
        return base
    if isinstance(base, type):
        return type(f"Watched{base.__name__}", (_Looking, base), {})
    return lambda *args, **kwargs: _watching_of(base(*args, **kwargs))


def _watching_of(cursor: Any) -> Any:
    """Make a cursor that a function has made one that looks."""
    kind: Any = type(cursor)
    cursor.__class__ = _watching(kind)
    return cursor


# What stands behind it is any class of cursors; to a checker of types it is the usual one.
if TYPE_CHECKING:
    _Cursor = psycopg.Cursor[Any]
else:
    _Cursor = object


class _Looking(_Cursor):
    """What is put before a class of cursors: a look at what each statement found.

    A cursor of the client knows that behind `execute`; in a pipeline, and on the server, it knows
    when rows are fetched.
    """

    _unfetched = False

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self._looked(super().execute, args, kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        return self._looked(super().executemany, args, kwargs)

    def _looked(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        done = run(*args, **kwargs)
        self._unfetched = True
        if self.connection.info.pipeline_status is PipelineStatus.OFF and (
            self.rowcount == 0 or _says_nothing(self.pgresult)
        ):
            self._tell()
        return done

    def fetchone(self) -> Any:
        return self._fetched(super().fetchone())

    def fetchmany(self, size: int = 0) -> Any:
        return self._fetched(super().fetchmany(size))

    def fetchall(self) -> Any:
        return self._fetched(super().fetchall())

    def __next__(self) -> Any:
        try:
            row = super().__next__()
        except StopIteration:
            self._fetched(None)
            raise
        return self._fetched(row)

    def _fetched(self, found: Any) -> Any:
        """Tell when the first that was fetched is nothing."""
        first, self._unfetched = self._unfetched, False
        if first and (found is None or found == [] or _says_nothing(self.pgresult)):
            self._tell()
        return found

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        found = False
        for row in super().stream(*args, **kwargs):
            found = True
            yield row
        if not found:
            self._tell()

    @contextmanager
    def copy(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with super().copy(*args, **kwargs) as copy:
            yield copy
        if self.rowcount == 0:
            self._tell()

    def _tell(self) -> None:
        blocks = _told.get(self.connection)
        if blocks and (tell := blocks[-1]):
            tell(self.statusmessage or "")


# What count, exists, bool_or, max and json_agg say of no rows, as text and in binary.
_NOTHING = (b"0", b"f", b"", b"[]", b"{}")

# Numbers of types: void; real, double precision and numeric, whose zero may be `0.00`.
_VOID = 2278
_WITH_FRACTIONS = (700, 701, 1700)


def _says_nothing(result: Any) -> bool:
    """Say whether a result is the one row that an aggregate gives of no rows."""
    if result is None or result.ntuples != 1 or result.nfields == 0:
        return False
    # (What a function of type void gives says neither this nor that.)
    columns = [n for n in range(result.nfields) if result.ftype(n) != _VOID]
    return bool(columns) and all(
        _is_nothing(result.get_value(0, n), result.ftype(n)) for n in columns
    )


def _is_nothing(value: bytes | None, type_: int) -> bool:
    if value is None or value in _NOTHING or not value.strip(b"\0"):
        return True
    return type_ in _WITH_FRACTIONS and not value.strip(b"0.")
