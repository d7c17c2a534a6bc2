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
from psycopg import sql

from headwater.postgres.connect import Connection, only_catalog_names, pins

if TYPE_CHECKING:
    from headwater.files.accepted import Accepted
    from headwater.files.grammar import Script, Statement

# Statements that define things and run nobody's code: their session is as it was. Everything else
# (SET, DO, SELECT f(), INSERT with its triggers, an index over f(x) …) may leave a setting, a role,
# a temporary table, a prepared statement.
_DEFINITIONS = frozenset(
    {
        "comment_stmt",
        "composite_type_stmt",
        "create_domain_stmt",
        "create_enum_stmt",
        "create_function_stmt",
        "create_policy_stmt",
        "create_range_stmt",
        "create_schema_stmt",
        "create_seq_stmt",
        "create_trig_stmt",
        "create_stmt",
        "grant_stmt",
        "view_stmt",
    }
)


def leaves_no_trace(script: Script) -> bool:
    """Say whether nothing of a file can be left in its session after COMMIT."""
    return all(_is_definition(statement) for statement in script.statements)


def _is_definition(statement: Statement) -> bool:
    if statement.kind not in _DEFINITIONS:
        return False
    text = statement.text.lower()
    if "pg_temp" in text or 'u&"' in text:
        return False  # anything can be made in pg_temp, and U&"" can spell it in another way
    if statement.kind == "create_stmt" and statement.node.HasField("partbound"):
        return False  # the bounds are expressions, and the rows of a default partition are compared
    relation = getattr(statement.node, "relation", None) or getattr(statement.node, "view", None)
    # CREATE TEMP TABLE and its sisters outlive the transaction.
    return relation is None or getattr(relation, "relpersistence", "p") != "t"


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
    seed = sql.SQL("SELECT pg_catalog.setseed({});\n").format(sql.Literal(random.uniform(-1, 1)))
    return FORGET + seed.as_bytes(connection) + pins(connection, lock_timeout_ms=lock_timeout_ms)


# What DISCARD ALL does not undo: a parameter of one's own (a name with a dot is '' for ever after,
# no longer unknown), a library that was loaded, a replication origin or temporary slot, what a role
# or the database sets for new sessions, and what an extension or another language keeps to itself.
# Each of them is made by one of these words, or by SQL in a text that some function runs.
_STAYS = re.compile(
    r"""\bset_config\b | \bload\b | replication | u&["'] | _to_xml | \bts_(?:stat|rewrite)\b
      | \bset\s+(?:session\s+|local\s+)?[\w"$]+\s*\.
      | \bexecute\s+(?!function\b|procedure\b)
      | \balter\s+(?:role|user|group|database|system)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMENTS = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_FIRES = re.compile(r"\bevent\s+trigger\b", re.IGNORECASE)
_ADDS_CODE = re.compile(r"\b(?:extension|language)\b", re.IGNORECASE)

# Whether code that was in the database before can do any of that, and whether any definition runs
# code: an event trigger.
_CODE_THAT_STAYS = resources.files("headwater.postgres").joinpath("residue.sql").read_bytes()


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

    def note(self, connection: Connection, file: Accepted) -> None:
        """Take note of what a file has brought into the database, and of what was there before."""
        text = file.migration.text
        self.fires = self.fires or (True if _FIRES.search(text) else self.fires)
        if _STAYS.search(text) or _STAYS.search(_COMMENTS.sub(" ", text)):
            self.stays = True
        elif self.stays is False and _ADDS_CODE.search(text):
            self.stays = None
        if self.stays is None or self.fires is None:
            stays, fires = _asked(connection)
            self.stays, self.fires = self.stays or stays, self.fires or fires

    def is_clean_behind(self, file: Accepted) -> bool:
        """Say whether the file can have left nothing at all."""
        return not self.fires and leaves_no_trace(file.script)

    def can_be_removed(self, file: Accepted) -> bool:
        """Say whether all that the file can have left is undone by `forgetting`."""
        return file.migration.transactional and not self.stays


def _asked(connection: Connection) -> tuple[bool, bool]:
    """Ask the database for code that could leave something; what cannot be asked could."""
    try:
        connection.execute(b"RESET SESSION AUTHORIZATION; RESET ROLE")
        with only_catalog_names(connection):
            row = connection.execute(_CODE_THAT_STAYS).fetchone()
    except psycopg.Error:
        return True, True
    return (bool(row[0]), bool(row[1])) if row else (True, True)


def holds_for_the_transaction(script: Script) -> bool:
    """Say whether a file sets what only the end of its transaction undoes: SET CONSTRAINTS."""
    return any(statement.kind == "constraints_set_stmt" for statement in script.statements)


def sets_the_session(statement: Statement) -> bool:
    """Say whether a statement does nothing but set the session, for those that follow it."""
    return statement.kind == "variable_set_stmt"
