"""What a file may leave behind in its session, and how the next one is kept from it.

Three answers, from cheap to sure: nothing can be left (the file only defines things); what can be
left is undone by PostgreSQL's own commands, one message; else the next file gets another session.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import psycopg

from headwater.model import Migration
from headwater.postgres.connect import Connection, only_catalog_names, pins
from headwater.settings import Settings

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted
    from headwater.files.grammar import Script, Statement

# These undo, one by one, what DISCARD ALL would; that is refused in a transaction.
FORGET = b"""\
RESET SESSION AUTHORIZATION;
RESET ROLE;
RESET ALL;
CLOSE ALL;
UNLISTEN *;
DEALLOCATE ALL;
DISCARD TEMP;
DISCARD SEQUENCES;
DISCARD PLANS;
SELECT pg_catalog.pg_advisory_unlock_all();
"""


def forgetting(connection: Connection, lock_timeout_ms: int) -> bytes:
    """Give the statements that make a session what a fresh one is, and pin it again.

    DISCARD leaves the seed of random() as it was set; a fresh session has one that nobody knows.
    """
    seed = b"SELECT pg_catalog.setseed(%f);\n" % random.uniform(-1, 1)
    return FORGET + seed + pins(connection, lock_timeout_ms=lock_timeout_ms)


# What DISCARD ALL does not undo: a parameter of one's own (a name with a dot is '' for ever after,
# no longer unknown), a library that was loaded, a replication origin or temporary slot, what a role
# or the database sets for new sessions, and what an extension or another language keeps to itself.
# Each of them is made by one of these words, or by SQL in a text that some function runs.
_STAYS = re.compile(
    r"""\bset_config\b | \bload\b | replication | u&["'] | _to_xml | \bts_(?:stat|rewrite)\b
      | \bset\s+(?:session\s+|local\s+)?[\w"$]+\s*\.
      | \bexecute\b(?!\s+(?:function|procedure)\b)
      | \balter\s+(?:role|user|group|database|system)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMENTS = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_FIRES = re.compile(r"\bevent\s+trigger\b", re.IGNORECASE)
_ADDS_CODE = re.compile(
    r"\bextension\b | \b(?:create|replace|trusted|procedural)\s+language\b",
    re.IGNORECASE | re.VERBOSE,
)

# Whether code that was in the database before can do any of that, and whether any definition runs
# code: an event trigger.
_CODE_THAT_STAYS = resources.files("headwater.postgres").joinpath("residue.sql").read_bytes()

# Whether code that was in the database before may change the history table itself: DDL stands in
# functions alone, and without dynamic SQL, which is looked for above, it has to name the table.
_CODE_THAT_NAMES = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_proc
                WHERE pg_catalog.strpos(pg_catalog.lower(prosrc), %s) > 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What the text of one file says of what it may leave behind."""

    none: bool
    """It only defines things."""
    stays: bool
    """It holds a word by which something could stay that no command undoes."""
    fires: bool
    """It speaks of event triggers, whose code runs at definitions."""
    adds_code: bool
    """It brings an extension or a language into the database."""
    names_history: bool
    """It names the history table, and so may change it."""


def traces_of(file: Accepted, settings: Settings) -> Traces:
    """Read what a file may leave behind."""
    text = file.migration.text
    comments = "--" in text or "/*" in text
    # What a comment parts belongs together all the same; and what looks like one may be none.
    texts = (text, _COMMENTS.sub(" ", text)) if comments else (text,)
    return Traces(
        none=file.only_defines,
        stays=any(map(_STAYS.search, texts)),
        fires=any(map(_FIRES.search, texts)),
        adds_code=any(map(_ADDS_CODE.search, texts)),
        names_history=settings.history_table in text.lower(),
    )


@dataclass(slots=True)
class Residue:
    """Whether a session can be cleaned behind the files of one run.

    It can as long as neither they nor the code of the database hold a word by which something
    could stay. One that does is enough: a function that it makes may be called by any later file.
    """

    stays: bool | None = None
    """None: the database was not asked yet."""
    fires: bool | None = None
    """Whether an event trigger runs code at definitions."""
    names_history: bool | None = None
    """Whether code names the history table."""

    def note(self, traces: Traces) -> None:
        """Take note of what a file has brought into the database."""
        self.fires = traces.fires or self.fires
        self.names_history = traces.names_history or self.names_history
        if traces.stays:
            self.stays = True
        elif traces.adds_code and self.stays is False:
            self.stays = None

    @property
    def is_known(self) -> bool:
        """Say whether the database need not be asked."""
        return None not in {self.stays, self.fires, self.names_history}

    def ask(self, connection: Connection, settings: Settings) -> None:
        """Ask the database for the code that it holds; what cannot be asked could do anything."""
        try:
            connection.execute(b"RESET SESSION AUTHORIZATION; RESET ROLE")
            with only_catalog_names(connection):
                stays, fires = connection.execute(_CODE_THAT_STAYS).fetchone() or (True, True)
                row = connection.execute(_CODE_THAT_NAMES, (settings.history_table,)).fetchone()
        except psycopg.Error:
            stays, fires, row = True, True, (True,)
        self.stays, self.fires = self.stays or stays, self.fires or fires
        self.names_history = self.names_history or row != (False,)

    def spares_history(self, traces: Traces) -> bool:
        """Say whether a file, and all code that it may run, can have done nothing to history."""
        knows = self.stays is False and self.names_history is False
        return knows and not (traces.stays or traces.adds_code or traces.names_history)

    def is_clean_behind(self, traces: Traces) -> bool:
        """Say whether the file can have left nothing at all."""
        return not self.fires and traces.none

    def can_be_removed(self, migration: Migration) -> bool:
        """Say whether all that the file can have left is undone by `forgetting`."""
        return migration.transactional and not self.stays


def holds_for_the_transaction(script: Script) -> bool:
    """Say whether a file sets what only the end of its transaction undoes: SET CONSTRAINTS."""
    return any(statement.kind == "constraints_set_stmt" for statement in script.statements)


def sets_the_session(statement: Statement) -> bool:
    """Say whether a statement does nothing but set the session, for those that follow it."""
    return statement.kind == "variable_set_stmt"
