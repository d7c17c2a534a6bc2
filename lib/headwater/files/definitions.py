"""Statements that only define things: whatever they make, their session is as it was."""

from __future__ import annotations

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


def only_defines(script: Script) -> bool:
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
