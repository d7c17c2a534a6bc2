"""What the files before a statement have made, as far as their text says.

A fix needs more than the statement itself: whether its table is partitioned, whether the columns of
a key can be null, whether a check already proves what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from headwater.files.grammar import Script, Statement
from headwater.files.locks import Named


def named(variable: Any) -> Named:
    """Give the name of a relation in a parse tree."""
    return Named(variable.schemaname, variable.relname)


def enum_name(node: Any, enum_field: str) -> str:
    """Give the name of an enum value of a parse node."""
    descriptor = node.DESCRIPTOR.fields_by_name[enum_field]
    return str(descriptor.enum_type.values_by_number[getattr(node, enum_field)].name)


def words_of(node: Any) -> tuple[str, ...]:
    """Give the parts of a name that is a list, as in DROP and COMMENT."""
    return tuple(item.string.sval for item in node.list.items)


def strings(values: Any) -> tuple[str, ...]:
    """Give a list of names, as in the columns of a key."""
    return tuple(value.string.sval for value in values)


def commands_of(node: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give the commands of an ALTER TABLE: kind, command, and what it defines."""
    for one in node.cmds:
        command = one.alter_table_cmd
        yield enum_name(command, "subtype"), command, getattr(command, "def")


@dataclass(slots=True, kw_only=True)
class Check:
    """A check constraint `column IS NOT NULL`, and whether it is known to hold of every row."""

    column: str
    valid: bool


@dataclass(slots=True)
class Known:
    """What was made so far; a name counts as it is written, with or without its schema."""

    tables: set[Named] = field(default_factory=set)
    partitioned: dict[Named, str] = field(default_factory=dict)
    """The one column of its partition key; empty where it is more than that."""
    required: dict[Named, set[str]] = field(default_factory=dict)
    """Columns that cannot be null."""
    promised: set[tuple[Named, str]] = field(default_factory=set)
    """Columns that became so, which every row that was there has to prove."""
    checks: dict[Named, dict[str, Check]] = field(default_factory=dict)
    not_valid: set[tuple[Named, str]] = field(default_factory=set)
    with_default: set[Named] = field(default_factory=set)
    """Partitioned tables with a default partition."""
    indexes: dict[str, Named] = field(default_factory=dict)
    refreshable: set[Named] = field(default_factory=set)
    """Materialized views with a unique index over all their rows."""
    empty: set[Named] = field(default_factory=set)
    """Materialized views WITH NO DATA."""

    def take(self, script: Script) -> None:
        """Learn from the statements of a file, in their order."""
        for statement in script.statements:
            self.learn(statement)

    def learn(self, statement: Statement) -> None:
        """Learn from one statement."""
        if learn := _LEARNT.get(statement.kind):
            learn(self, statement.node)

    def is_required(self, table: Named, column: str) -> bool:
        """Say whether a column is known not to be null, by its declaration or by a check."""
        by_check = (
            check.valid and check.column == column for check in self.checks.get(table, {}).values()
        )
        return column in self.required.get(table, ()) or any(by_check)


_REQUIRING = ("CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY")
_SERIAL = frozenset({"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"})


def is_serial(column: Any) -> bool:
    """Say whether a column takes its value from a sequence by its type."""
    names = strings(column.type_name.names)
    return bool(names) and names[-1] in _SERIAL


def _create_table(known: Known, node: Any) -> None:
    table = named(node.relation)
    known.tables.add(table)
    if node.partbound.is_default:
        known.with_default.add(named(node.inh_relations[0].range_var))
    if node.HasField("partspec"):
        parts = node.partspec.part_params
        plain = len(parts) == 1 and enum_name(node.partspec, "strategy").endswith(
            ("_LIST", "_RANGE")
        )
        known.partitioned[table] = parts[0].partition_elem.name if plain else ""
    for element in node.table_elts:
        if element.column_def.colname:
            _take_column(known, table, element.column_def)
        else:
            _add_constraint(known, table, element.constraint)


def _take_column(known: Known, table: Named, column: Any) -> None:
    kinds = {enum_name(item.constraint, "contype") for item in column.constraints}
    if kinds.intersection(_REQUIRING) or is_serial(column):
        known.required.setdefault(table, set()).add(column.colname)


def _add_constraint(known: Known, table: Named, constraint: Any) -> None:
    kind = enum_name(constraint, "contype")
    valid = not constraint.skip_validation
    if not valid and constraint.conname:
        known.not_valid.add((table, constraint.conname))
    if kind == "CONSTR_NOTNULL" and valid:
        known.promised.add((table, strings(constraint.keys)[0]))
    if kind in ("CONSTR_PRIMARY", "CONSTR_NOTNULL") and valid:
        known.required.setdefault(table, set()).update(strings(constraint.keys))
    column = _not_null_of(constraint) if kind == "CONSTR_CHECK" else ""
    if kind == "CONSTR_NOTNULL" and not valid:
        column = strings(constraint.keys)[0]
    if column and constraint.conname:
        checks = known.checks.setdefault(table, {})
        checks[constraint.conname] = Check(column=column, valid=valid)


def _not_null_of(constraint: Any) -> str:
    """Give the column of CHECK (column IS NOT NULL); empty for any other check."""
    test = constraint.raw_expr.null_test
    fields = test.arg.column_ref.fields
    if not fields or enum_name(test, "nulltesttype") != "IS_NOT_NULL":
        return ""
    return str(fields[-1].string.sval)


def _alter_table(known: Known, node: Any) -> None:
    table = named(node.relation)
    for kind, command, definition in commands_of(node):
        if kind == "AT_AddColumn":
            _take_column(known, table, definition.column_def)
        elif kind == "AT_AddConstraint":
            _add_constraint(known, table, definition.constraint)
        elif kind == "AT_SetNotNull":
            known.promised.add((table, command.name))
            known.required.setdefault(table, set()).add(command.name)
        elif kind in ("AT_DropNotNull", "AT_DropColumn"):
            known.required.get(table, set()).discard(command.name)
        elif kind == "AT_ValidateConstraint":
            _validate(known, table, command.name)
        elif kind == "AT_AttachPartition" and definition.partition_cmd.bound.is_default:
            known.with_default.add(table)
        elif kind == "AT_DropConstraint":
            known.checks.get(table, {}).pop(command.name, None)
            known.not_valid.discard((table, command.name))


def _validate(known: Known, table: Named, name: str) -> None:
    known.not_valid.discard((table, name))
    if check := known.checks.get(table, {}).get(name):
        check.valid = True


def _index(known: Known, node: Any) -> None:
    table = named(node.relation)
    if node.idxname:
        known.indexes[node.idxname] = table
    plain = all(item.index_elem.name for item in node.index_params)
    if node.unique and plain and not node.HasField("where_clause"):
        known.refreshable.add(table)


def _create_as(known: Known, node: Any) -> None:
    relation = named(node.into.rel)
    known.tables.add(relation)
    if node.into.skip_data:
        known.empty.add(relation)


def _refresh(known: Known, node: Any) -> None:
    if node.skip_data:
        known.empty.add(named(node.relation))
    else:
        known.empty.discard(named(node.relation))


_LEARNT: dict[str, Callable[[Known, Any], None]] = {
    "create_stmt": _create_table,
    "alter_table_stmt": _alter_table,
    "index_stmt": _index,
    "create_table_as_stmt": _create_as,
    "refresh_mat_view_stmt": _refresh,
}
