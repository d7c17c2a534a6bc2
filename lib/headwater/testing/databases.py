"""A test database: what a test does with it, and what its comment on the server tells of it.

Its name holds its maker, so that it can be told whose it is as soon as it is there; its comment
says so to people, and holds what became of it:

    headwater: disposable
    headwater: test database of process 4711 on HOST/… since 2026-01-31T12:00:00+00:00
    headwater: kept at 2026-01-31T12:00:07+00:00 for tests/test_orders.py::test_a_refund
    headwater: lent until 2026-01-31T16:00:00+00:00 to process 0badcafe_4711_1f3a2
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import psycopg

from headwater.model import Migrated, Notify, Target, ignore
from headwater.postgres.connect import (
    Connection,
    libpq_variables_hidden,
    unreachable,
    without_secrets,
)
from headwater.postgres.makers import Maker, machine, maker_in
from headwater.postgres.psql import url_of
from headwater.testing.project import Project

PREFIX = "headwater_test_"

_roots: WeakKeyDictionary[psycopg.Connection[Any], Path] = WeakKeyDictionary()


def root_of(connection: psycopg.Connection[Any]) -> Path | None:
    """Give the folder of the project whose test database a connection was opened to, if any."""
    return _roots.get(connection)


class SecretUrl(str):
    """A URL with a password that a report of tests does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(re.sub(r"(?<=://)([^:@/]*):[^@/]*@", r"\1:***@", str(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database for a test, which nobody else uses. Its maker drops it."""

    target: Target
    project: Project = field(repr=False)

    @property
    def name(self) -> str:
        """Give its name on the server."""
        return self.target.database

    @property
    def url(self) -> str:
        """Give the connection URL, with the password; its repr has none, for reports of tests."""
        return SecretUrl(url_of(self.target))

    def connect(self, **options: Any) -> Connection:
        """Open a connection, in autocommit unless the options of `psycopg.connect` say otherwise.

        Whoever opens it closes it; one that is left open ends when the database is dropped. Raises
        Unreachable.
        """
        given: dict[str, Any] = {"autocommit": True, "fallback_application_name": "headwater test"}
        given |= options
        try:
            with libpq_variables_hidden() if self.target.private else nullcontext():
                connection = psycopg.connect(self.target.conninfo, **given)
        except psycopg.Error as error:
            # A report of pytest shows the arguments of the driver's functions, password and all.
            raise unreachable(self.target, error) from without_secrets(error, self.target)
        _roots[connection] = self.project.settings.root
        return connection

    def migrate(self, to: str = "", *, notify: Notify = ignore) -> Migrated:
        """Apply what is not applied yet, up to a version (default: all), as `invoke migrate` does.

        Raises the error of a file that fails: MigrationFailed, FilesError …
        """
        from headwater.postgres.run import migrate

        return migrate(
            self.target, self.project.folder, self.project.settings, to=to, notify=notify
        )


# --- notes ------------------------------------------------------------------------------------


def note_of_making() -> str:
    """Give the line that says who makes a test database, and when."""
    return _line(f"test database of process {os.getpid()} on {machine()} since {_now()}")


def note_of_keeping(why: str) -> str:
    """Give the line that keeps a test database as evidence; `why` is the test."""
    return _line(f"kept at {_now()} for {why}")


def note_of_lending(until: datetime, borrower: Maker | None) -> str:
    """Give the line that lends a test database until a time, or while a process runs."""
    to = f" to process {borrower}" if borrower else ""
    return _line(f"lent until {until.isoformat(timespec='seconds')}{to}")


def _line(text: str) -> str:
    """Give a line that the server takes, whatever its encoding, and that is one line."""
    plain = text.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
    return f"headwater: {' '.join(plain.split())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the comment on a test database says."""

    kept_at: datetime | None = None
    lent_until: datetime | None = None
    borrower: Maker | None = None


_KEPT = re.compile(r"^headwater: kept at (\S+) for ", re.MULTILINE)
_LENT = re.compile(r"^headwater: lent until (\S+)(?: to process (\S+))?$", re.MULTILINE)


def notes_in(comment: str | None) -> Notes:
    """Read the notes from a comment; what cannot be read counts as not said."""
    kept, lent = _KEPT.search(comment or ""), _LENT.search(comment or "")
    return Notes(
        kept_at=_time(kept[1]) if kept else None,
        lent_until=_time(lent[1]) if lent else None,
        borrower=maker_in(lent[2]) if lent and lent[2] else None,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _time(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone(UTC)
    return None
