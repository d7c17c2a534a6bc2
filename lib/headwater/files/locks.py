"""Which locks on tables the statements of a file take, as far as their text says.

Decided on the parse tree: each relation that a statement names, with the table-level lock that its
kind of statement takes on it (section 13.3 of the manual, AlterTableGetLockLevel in PostgreSQL's
sources; the tests measure each). What functions, triggers, DO blocks and cascades reach stands in
no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.outcomes import LockMode

if TYPE_CHECKING:
    from headwater.files.grammar import Script, Statement


class Named(NamedTuple):
    """A relation as a statement names it: `schema` is empty where the statement leaves it open."""

    schema: str
    name: str


_AS = LockMode.ACCESS_SHARE
_RS = LockMode.ROW_SHARE
_RX = LockMode.ROW_EXCLUSIVE
_SUX = LockMode.SHARE_UPDATE_EXCLUSIVE
_S = LockMode.SHARE
_SRX = LockMode.SHARE_ROW_EXCLUSIVE
_X = LockMode.EXCLUSIVE
_AX = LockMode.ACCESS_EXCLUSIVE


def locks_of(scripts: Iterable[Script]) -> dict[Named, LockMode]:
    """Give each relation that statements name, with the strongest lock that one takes on it."""
    strongest = dict[Named, LockMode]()
    for script in scripts:
        for statement in script.statements:
            for named, mode in locks_of_statement(statement):
                if named not in strongest or mode.rank > strongest[named].rank:
                    strongest[named] = mode
    return strongest


def locks_of_statement(statement: Statement) -> Iterator[tuple[Named, LockMode]]:
    """Give what one statement locks; a relation may come twice."""
    node = statement.node
    if statement.kind in _MODES:
        for part in _MODES[statement.kind]:
            yield from _by_field(node, *part)
    if statement.kind in _JUDGES:
        yield from _JUDGES[statement.kind](node)
    if statement.kind not in _NOT_OPENED:
        yield from ((_named(variable), _AS) for variable in _range_vars(node))
    yield from _locking_clauses(node)


# Kinds of statement that take one lock, whatever they say: the field that names the relation, the
# lock. (A field that is empty or absent names none.)
_MODES: dict[str, tuple[tuple[str, LockMode], ...]] = {
    "alter_policy_stmt": (("table", _AX),),
    "cluster_stmt": (("relation", _AX),),
    "create_policy_stmt": (("table", _AX),),
    "create_trig_stmt": (("relation", _SRX),),
    "delete_stmt": (("relation", _RX),),
    "insert_stmt": (("relation", _RX),),
    "merge_stmt": (("relation", _RX),),
    "rule_stmt": (("relation", _AX),),
    "sec_label_stmt": (("object", _SUX),),
    "truncate_stmt": (("relations", _AX),),
    "update_stmt": (("relation", _RX),),
    "view_stmt": (("view", _AX),),
    "alter_object_schema_stmt": (("relation", _AX),),
}

# Statements that name a relation and do not open it, or only as something new.
_NOT_OPENED = frozenset({"create_function_stmt", "lock_stmt", "rename_stmt"})


def _named(variable: Any) -> Named:
    return Named(variable.schemaname, variable.relname)


def _by_field(node: Any, field: str, mode: LockMode) -> Iterator[tuple[Named, LockMode]]:
    """Give the relation, or the relations, that a field of a statement names."""
    value = getattr(node, field)
    if hasattr(value, "relname"):
        if value.relname:
            yield _named(value), mode
    elif hasattr(value, "__len__"):
        yield from ((_named(one.range_var), mode) for one in value if one.range_var.relname)


def _range_vars(message: Any) -> Iterator[Any]:
    """Walk a parse tree for every relation that it names, but those of WITH and temporary ones."""
    found, common = list[Any](), set[str]()
    stack = [message]
    while stack:
        one = stack.pop()
        kind = one.DESCRIPTOR.name
        if kind == "RangeVar":
            found.append(one)
            continue
        if kind == "CommonTableExpr":
            common.add(one.ctename)
        for descriptor, value in one.ListFields():
            if descriptor.message_type is None:
                continue
            stack += value if hasattr(value, "__len__") else [value]
    return (one for one in found if one.schemaname or one.relname not in common)


def _locking_clauses(message: Any) -> Iterator[tuple[Named, LockMode]]:
    """Give the relations of every SELECT that locks rows (FOR UPDATE and its sisters)."""
    stack = [message]
    while stack:
        one = stack.pop()
        if one.DESCRIPTOR.name == "SelectStmt" and one.locking_clause:
            for clause in one.from_clause:
                yield from ((_named(variable), _RS) for variable in _range_vars(clause))
        for descriptor, value in one.ListFields():
            if descriptor.message_type is not None:
                stack += value if hasattr(value, "__len__") else [value]


def _enum(node: Any, field: str) -> str:
    """Give the name of an enum value of a parse node."""
    descriptor = node.DESCRIPTOR.fields_by_name[field]
    return str(descriptor.enum_type.values_by_number[getattr(node, field)].name)


# --- ALTER TABLE ------------------------------------------------------------------------------

# Every other command of ALTER TABLE takes ACCESS EXCLUSIVE.
_ALTER = {
    "AT_ValidateConstraint": _SUX,
    "AT_AttachPartition": _SUX,
    "AT_DetachPartitionFinalize": _SUX,
    "AT_SetStatistics": _SUX,
    "AT_ClusterOn": _SUX,
    "AT_DropCluster": _SUX,
    "AT_SetOptions": _SUX,
    "AT_ResetOptions": _SUX,
} | dict.fromkeys(
    (
        f"AT_{what}Trig{which}"
        for what in ("Enable", "Disable", "EnableAlways", "EnableReplica")
        for which in ("", "All", "User")
    ),
    _SRX,
)

# Storage parameters of a table that need it alone; every other needs SHARE UPDATE EXCLUSIVE.
_HEAVY_OPTIONS = frozenset({"user_catalog_table", "security_barrier", "security_invoker"})
_OPTIONS = ("AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplaceRelOptions")


def _alter_table(node: Any) -> Iterator[tuple[Named, LockMode]]:
    table = _named(node.relation)
    for one in node.cmds:
        command = one.alter_table_cmd
        definition = getattr(command, "def")
        yield table, _mode_of_command(command, definition)
        yield from _foreign_keys(definition)
        partition = definition.partition_cmd.name
        if partition.relname:
            yield _named(partition), _AX
        if _enum(command, "subtype") in ("AT_AddInherit", "AT_DropInherit"):
            yield _named(definition.range_var), _AS if "Drop" in _enum(command, "subtype") else _SUX


def _mode_of_command(command: Any, definition: Any) -> LockMode:
    kind = _enum(command, "subtype")
    if kind == "AT_DetachPartition":
        return _SUX if definition.partition_cmd.concurrent else _AX
    if kind == "AT_AddConstraint" and _is_foreign_key(definition.constraint):
        return _SRX
    if kind in _OPTIONS:
        names = {item.def_elem.defname for item in definition.list.items}
        return _AX if names & _HEAVY_OPTIONS else _SUX
    return _ALTER.get(kind, _AX)


def _is_foreign_key(constraint: Any) -> bool:
    return _enum(constraint, "contype") == "CONSTR_FOREIGN"


def _foreign_keys(definition: Any) -> Iterator[tuple[Named, LockMode]]:
    """Give the tables that the foreign keys of a column or a table constraint refer to."""
    inner = (item.constraint for item in definition.column_def.constraints)
    for constraint in (definition.constraint, *inner):
        if _is_foreign_key(constraint):
            yield _named(constraint.pktable), _SRX


# --- others whose words decide ----------------------------------------------------------------


def _create_table(node: Any) -> Iterator[tuple[Named, LockMode]]:
    parent = _AX if node.HasField("partbound") else _SUX
    yield from ((_named(one.range_var), parent) for one in node.inh_relations)
    for element in node.table_elts:
        yield from _foreign_keys(element)


_WITH_TABLE = ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")
_RELATIONS = ("TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE", "INDEX")


def _drop(node: Any) -> Iterator[tuple[Named, LockMode]]:
    kind = _enum(node, "remove_type")
    for one in node.objects:
        words = _words(one)
        if kind in _WITH_TABLE:
            words = words[:-1]
        elif kind.removeprefix("OBJECT_") not in _RELATIONS:
            continue
        yield from _of_words(words, _SUX if node.concurrent else _AX)


def _words(node: Any) -> list[str]:
    return [item.string.sval for item in node.list.items]


def _of_words(words: list[str], mode: LockMode) -> Iterator[tuple[Named, LockMode]]:
    if words:
        yield Named(words[-2] if len(words) > 1 else "", words[-1]), mode


def _comment(node: Any) -> Iterator[tuple[Named, LockMode]]:
    kind = _enum(node, "objtype").removeprefix("OBJECT_")
    if kind in _RELATIONS:
        yield from _of_words(_words(node.object), _SUX)
    elif kind == "COLUMN":
        yield from _of_words(_words(node.object)[:-1], _SUX)
    elif kind in ("TRIGGER", "POLICY", "RULE", "TABCONSTRAINT"):
        yield from _of_words(_words(node.object)[:-1], _AS)


def _rename(node: Any) -> Iterator[tuple[Named, LockMode]]:
    if node.relation.relname:
        is_index = _enum(node, "rename_type") == "OBJECT_INDEX"
        yield _named(node.relation), _SUX if is_index else _AX


def _copy(node: Any) -> Iterator[tuple[Named, LockMode]]:
    if node.is_from:
        yield _named(node.relation), _RX


_NUMBERED = (_AS, _RS, _RX, _SUX, _S, _SRX, _X, _AX)


def _lock(node: Any) -> Iterator[tuple[Named, LockMode]]:
    yield from ((_named(one.range_var), _NUMBERED[node.mode - 1]) for one in node.relations)


def _refresh(node: Any) -> Iterator[tuple[Named, LockMode]]:
    yield _named(node.relation), _X if node.concurrent else _AX


def _reindex(node: Any) -> Iterator[tuple[Named, LockMode]]:
    from headwater.files.grammar import option_is_on

    kind = _enum(node, "kind")
    if kind in ("REINDEX_OBJECT_TABLE", "REINDEX_OBJECT_INDEX"):
        mode = _S if kind.endswith("TABLE") else _AX
        concurrent = option_is_on(node.params, "concurrently", default=False)
        yield _named(node.relation), _SUX if concurrent else mode


def _index(node: Any) -> Iterator[tuple[Named, LockMode]]:
    yield _named(node.relation), _SUX if node.concurrent else _S


def _vacuum_or_analyze(node: Any) -> Iterator[tuple[Named, LockMode]]:
    from headwater.files.grammar import option_is_on

    mode = _AX if option_is_on(node.options, "full", default=False) else _SUX
    yield from ((_named(one.vacuum_relation.relation), mode) for one in node.rels)


def _statistics(node: Any) -> Iterator[tuple[Named, LockMode]]:
    yield from ((_named(one.range_var), _SUX) for one in node.relations)


def _publication(node: Any) -> Iterator[tuple[Named, LockMode]]:
    for one in node.pubobjects:
        table = one.publication_obj_spec.pubtable.relation
        if table.relname:
            yield _named(table), _SUX


def _sequence(node: Any) -> Iterator[tuple[Named, LockMode]]:
    yield _named(node.sequence), _SRX


_JUDGES = {
    "alter_publication_stmt": _publication,
    "alter_seq_stmt": _sequence,
    "alter_table_stmt": _alter_table,
    "comment_stmt": _comment,
    "copy_stmt": _copy,
    "create_publication_stmt": _publication,
    "create_stats_stmt": _statistics,
    "create_stmt": _create_table,
    "drop_stmt": _drop,
    "index_stmt": _index,
    "lock_stmt": _lock,
    "reindex_stmt": _reindex,
    "refresh_mat_view_stmt": _refresh,
    "rename_stmt": _rename,
    "vacuum_stmt": _vacuum_or_analyze,
}
