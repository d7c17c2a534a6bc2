"""What a file may leave behind in its session, and how the next one is kept from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.files.grammar import Script, Statement

# Statements that define things and run nobody's code: their session is as it was. Everything else
# (SET, DO, SELECT f(), INSERT with its triggers …) may leave a setting, a role, a temporary table,
# a prepared statement, and costs the next file a fresh connection.
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
        "index_stmt",
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
    relation = getattr(statement.node, "relation", None) or getattr(statement.node, "view", None)
    # CREATE TEMP TABLE and its sisters outlive the transaction.
    return relation is None or getattr(relation, "relpersistence", "p") != "t"


# Inside one transaction (an atomic reset) there is no fresh connection. These undo, one by one,
# what DISCARD ALL would; it is refused in a transaction.
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


def holds_for_the_transaction(script: Script) -> bool:
    """Say whether a file sets what only the end of its transaction undoes: SET CONSTRAINTS."""
    return any(statement.kind == "constraints_set_stmt" for statement in script.statements)


def sets_the_session(statement: Statement) -> bool:
    """Say whether a statement does nothing but set the session, for those that follow it."""
    return statement.kind == "variable_set_stmt"
