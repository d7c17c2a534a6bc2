"""What must not change places: statements of one file that need what is moved behind it.

A statement that is moved runs after others that stood below it. For each such pair this says that
neither sees a difference, that the other one has to move as well, or that the fix is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.checks.fixing_known import commands_of, enum_name, named, strings
from headwater.checks.fixing_parts import (
    CannotFix,
    Phase,
    Piece,
    Sort,
    Treatment,
    mentions,
    spliced,
)
from headwater.files.grammar import Script, Statement
from headwater.files.locks import Named, locks_of_statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of the statements of a file, and which are left as they are, and why."""

    treatments: tuple[Treatment, ...]
    left: tuple[tuple[Statement, str], ...]


def settle(script: Script, treatments: Sequence[Treatment]) -> Verdict:
    """Move what has to move along, and give up what cannot be moved, until nothing is left to do.

    Every round gives one up, so it ends.
    """
    given = {treatment.statement.start: treatment for treatment in treatments}
    left = list[tuple[Statement, str]]()
    while True:
        chosen, refused = _moved_together(script, given)
        if refused is None:
            return Verdict(treatments=tuple(chosen[s] for s in sorted(chosen)), left=tuple(left))
        start, why = refused
        left.append((given.pop(start).statement, why))


def _moved_together(
    script: Script, given: dict[int, Treatment]
) -> tuple[dict[int, Treatment], tuple[int, str] | None]:
    """Move along what has to; say which of those given cannot be moved, and why."""
    chosen, leaders = dict(given), dict[int, int]()
    while conflict := _first_conflict(script, chosen):
        moved, below = conflict
        leader = leaders.get(moved.statement.start, moved.statement.start)
        try:
            chosen[below.start] = _moved_along(script, moved, below, chosen.get(below.start))
        except CannotFix as error:
            return chosen, (leader, str(error))
        leaders[below.start] = leader
    return chosen, None


def _first_conflict(
    script: Script, chosen: dict[int, Treatment]
) -> tuple[Treatment, Statement] | None:
    """Find a moved statement, and one below it that would now run before it and needs it."""
    for start in sorted(chosen):
        moved = chosen[start]
        for below in script.statements:
            if below.start <= start or not _is_overtaken(moved, chosen.get(below.start)):
                continue
            if _depends(moved, below):
                return moved, below
    return None


def _is_overtaken(moved: Treatment, below: Treatment | None) -> bool:
    return moved.last > (below.first if below else Phase.FILE)


# --- whether one needs the other --------------------------------------------------------------


def _depends(moved: Treatment, below: Statement) -> bool:
    tables = {table for table, _ in locks_of_statement(below)}
    shared = moved.tables is None or any(_same(a, b) for a in moved.tables for b in tables)
    if _names_one(moved, below) or _sweeps(below):
        return True
    if shared and (Sort.DETACH in moved.sorts or _needs_required(moved, below)):
        return True
    if moved.keys and _needs_key(moved, below):
        return True
    if below.kind in _OPAQUE:
        return _opaque_needs(moved, below)
    if Sort.DROP_INDEX in moved.sorts and below.kind in _DATA:
        return True
    return shared and not _is_harmless(below)


def _same(one: Named, other: Named) -> bool:
    """Say whether two names may mean one relation: the schema may be left open."""
    return one.name == other.name and (
        one.schema == other.schema or not one.schema or not other.schema
    )


_CHECKED = frozenset({Sort.VALIDATE, Sort.REQUIRED})
"""What is there at once, and only proved later."""


def _needs_required(moved: Treatment, below: Statement) -> bool:
    """Say whether a statement makes a primary key or an identity, of what is not proved yet."""
    if Sort.REQUIRED not in moved.sorts or below.kind != "alter_table_stmt":
        return False
    return any(
        kind == "AT_AddIdentity" or enum_name(definition.constraint, "contype") == "CONSTR_PRIMARY"
        for kind, _, definition in commands_of(below.node)
    )


def _names_one(moved: Treatment, below: Statement) -> bool:
    """Say whether a statement speaks of something by the name that is moved."""
    if moved.sorts <= _CHECKED and below.kind == "comment_stmt":
        return False  # the constraint is there, only not valid yet
    return any(mentions(below.text, name) for name in moved.names)


_OPAQUE = ("do_stmt", "call_stmt", "select_stmt", "execute_stmt", "prepare_stmt")
"""What they do stands in no text, or in that of another."""

_DATA = ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt", *_OPAQUE)


def _opaque_needs(moved: Treatment, below: Statement) -> bool:
    if moved.sorts & {Sort.UNIQUE, Sort.DROP_INDEX}:
        return True
    return any(mentions(below.text, table.name) for table in moved.tables or ())


def _needs_key(moved: Treatment, below: Statement) -> bool:
    """Say whether a statement needs a unique key that comes later."""
    tables = [table for table, _, _ in moved.keys]
    if below.kind == "insert_stmt":
        ours = any(_same(named(below.node.relation), table) for table in tables)
        return ours and below.node.HasField("on_conflict_clause")
    if below.kind in ("view_stmt", "create_table_as_stmt"):
        read = {table for table, _ in locks_of_statement(below)}
        return any(primary for _, _, primary in moved.keys) and any(
            _same(one, table) for one in read for table in tables
        )
    return any(_refers(key, moved) for key in _foreign_keys(below))


def _refers(constraint: Any, moved: Treatment) -> bool:
    columns = set(strings(constraint.pk_attrs))
    table = named(constraint.pktable)
    return any(
        _same(table, ours) and (columns == set(key) if columns else primary)
        for ours, key, primary in moved.keys
    )


def _foreign_keys(statement: Statement) -> Iterator[Any]:
    if statement.kind == "create_stmt":
        definitions = list(statement.node.table_elts)
    elif statement.kind == "alter_table_stmt":
        definitions = [definition for _, _, definition in commands_of(statement.node)]
    else:
        return
    for definition in definitions:
        inner = [item.constraint for item in definition.column_def.constraints]
        for constraint in (definition.constraint, *inner):
            if enum_name(constraint, "contype") == "CONSTR_FOREIGN":
                yield constraint


# What may run before or after a change of an index or a constraint of its table.
_HARMLESS = frozenset(
    {
        "alter_policy_stmt",
        "comment_stmt",
        "create_function_stmt",
        "create_policy_stmt",
        "create_publication_stmt",
        "create_stats_stmt",
        "create_trig_stmt",
        "delete_stmt",
        "grant_stmt",
        "index_stmt",
        "insert_stmt",
        "lock_stmt",
        "merge_stmt",
        "refresh_mat_view_stmt",
        "reindex_stmt",
        "sec_label_stmt",
        "update_stmt",
        "vacuum_stmt",
        "view_stmt",
    }
)
_HARMLESS_COMMANDS = frozenset(
    {
        "AT_AddColumn",
        "AT_AddConstraint",
        "AT_ChangeOwner",
        "AT_ClusterOn",
        "AT_ColumnDefault",
        "AT_DisableRowSecurity",
        "AT_DropCluster",
        "AT_EnableRowSecurity",
        "AT_ForceRowSecurity",
        "AT_NoForceRowSecurity",
        "AT_ReplaceRelOptions",
        "AT_ReplicaIdentity",
        "AT_ResetRelOptions",
        "AT_SetNotNull",
        "AT_SetOptions",
        "AT_SetRelOptions",
        "AT_SetStatistics",
        "AT_SetStorage",
        "AT_ValidateConstraint",
    }
    | {
        f"AT_{what}Trig{which}"
        for what in ("Enable", "Disable", "EnableAlways", "EnableReplica")
        for which in ("", "All", "User")
    }
)


def _sweeps(below: Statement) -> bool:
    """Say whether a statement reaches relations that it does not name."""
    node = below.node
    if below.kind == "drop_stmt":
        whole = enum_name(node, "remove_type") == "OBJECT_SCHEMA"
        return whole or enum_name(node, "behavior") == "DROP_CASCADE"
    if below.kind == "rename_stmt":
        return enum_name(node, "rename_type") == "OBJECT_SCHEMA"
    return below.kind in ("drop_owned_stmt", "alter_table_move_all_stmt")


def _is_harmless(below: Statement) -> bool:
    node = below.node
    if below.kind == "alter_table_stmt":
        return all(kind in _HARMLESS_COMMANDS for kind, _, _ in commands_of(node))
    if below.kind == "create_stmt":
        return not node.inh_relations
    if below.kind == "drop_stmt":
        return enum_name(node, "remove_type") in (
            "OBJECT_INDEX",
            "OBJECT_POLICY",
            "OBJECT_TRIGGER",
        )
    return below.kind in _HARMLESS or not any(True for _ in locks_of_statement(below))


# --- moving along -----------------------------------------------------------------------------


def _moved_along(
    script: Script, moved: Treatment, below: Statement, treated: Treatment | None
) -> Treatment:
    """Put a statement behind what it needs; raise CannotFix where it has to stay."""
    if moved.last > Phase.BEHIND or not _may_follow(below, treated):
        raise CannotFix(_refusal(below))
    end = below.start + len(below.text)
    edits = treated.edits if treated else ()
    piece = Piece(phase=Phase.BEHIND, sql=spliced(script.text, edits, below.start, end))
    tables = frozenset(table for table, _ in locks_of_statement(below))
    if treated is None:
        return Treatment(
            statement=below,
            sorts=frozenset({Sort.FOLLOWS}),
            leaves=True,
            pieces=(piece,),
            tables=tables,
            names=_names_of_keys(below),
        )
    return replace(
        treated,
        leaves=True,
        edits=(),
        sorts=treated.sorts | {Sort.FOLLOWS},
        pieces=(piece, *treated.pieces),
        tables=tables,
    )


def _names_of_keys(below: Statement) -> frozenset[str]:
    return frozenset(key.conname for key in _foreign_keys(below) if key.conname)


_FOLLOWING_COMMANDS = ("AT_AddConstraint", "AT_ClusterOn", "AT_ReplicaIdentity")


def _may_follow(below: Statement, treated: Treatment | None) -> bool:
    if treated is not None and (treated.leaves or not treated.sorts <= _CHECKED):
        return False
    if below.kind == "comment_stmt":
        return enum_name(below.node, "objtype") in ("OBJECT_INDEX", "OBJECT_TABCONSTRAINT")
    if below.kind == "alter_table_stmt":
        commands = list(commands_of(below.node))
        return all(kind in _FOLLOWING_COMMANDS for kind, _, _ in commands)
    return False


def _refusal(below: Statement) -> str:
    what = " ".join(below.text.split()[:3])
    where = f"line {below.line} ({what} …)"
    if below.kind in _OPAQUE:
        return f"{where} might need what would move behind it, and its text does not say"
    return f"{where} may need it done by then: put it into a migration of its own before this one"
