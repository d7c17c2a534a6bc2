"""What the statements of a file demand of the rows that are there, as far as their text says.

A demand is what PostgreSQL would check of the rows of a table while it runs the statement, and
fail on: no NULL in a column, no value twice, no row without the row that it refers to. Decided on
the parse tree. Whether rows meet a demand is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from headwater.files.grammar import Statement, expression_text, parse, type_text, walk, word_of
from headwater.files.locks import Named


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What rows of a table must meet. `columns` are those that the table must have by then.

    `only` leaves out the tables that inherit from it; `functions` are called to find out.
    """

    table: Named
    columns: tuple[str, ...] = ()
    only: bool = False
    functions: tuple[Named, ...] = ()
    constraint: str = ""
    """The name of the constraint that demands it, where the statement gives one."""
    later: bool = False
    """True where it is not checked now (NOT VALID), and will be by VALIDATE CONSTRAINT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNull(Demand):
    """No row has NULL in any of the columns; `doing` is what demands it, in words."""

    doing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNullInKey(Demand):
    """No row has NULL in a column of an index that becomes the primary key."""

    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRow(Demand):
    """The table is empty: what is there would have no value in a new column."""

    new: str
    """The column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct(Demand):
    """No two rows have the same keys (SQL), of those where `where` (SQL) holds, if given."""

    keys: tuple[str, ...]
    where: str = ""
    nulls_distinct: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Known(Demand):
    """Each row refers to a row that is there. No `referenced` columns: those of the primary key."""

    parent: Named
    referenced: tuple[str, ...]
    full: bool = False
    """MATCH FULL: all of the columns are NULL, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds(Demand):
    """An expression (SQL) is false of no row."""

    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Becomes(Demand):
    """The values of a column can become values of another type.

    `value` is the SQL of what is cast (the column, or the expression behind USING); `plain` says
    that it is no more than the column, or a cast of it to the new type.
    """

    column: str
    value: str
    type: str
    plain: bool
    base: str
    """The name of the type without its length: `varchar`, `bpchar`, `numeric` …"""
    length: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The bound of a partition: SQL of its values, by its strategy (`r`ange, `l`ist, `h`ash).

    MINVALUE and MAXVALUE are the words themselves, NULL in a list is `NULL`.
    """

    strategy: str = ""
    lower: tuple[str, ...] = ()
    upper: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    modulus: int = 0
    remainder: int = 0
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded(Demand):
    """Each row of a table that becomes a partition of `parent` is within its bound."""

    parent: Named
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneInDefault(Demand):
    """The default partition of the table holds no row that belongs to a new partition."""

    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Demand):
    """What a constraint demands that was added NOT VALID, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDomain(Demand):
    """A constraint of a domain (in the place of the table) holds in every column of that type.

    No expression: no NULL. `validates` names a constraint that is there.
    """

    expression: str = ""
    validates: str = ""


def demands_of(statement: Statement) -> Iterator[Demand]:
    """Give what a statement demands of rows, in the order of its parts."""
    if statement.kind in _DEMANDING:
        yield from _DEMANDING[statement.kind](statement.node)


# --- parts of the parse tree ------------------------------------------------------------------


def _named(variable: Any) -> Named:
    return Named(variable.schemaname, variable.relname)


def _strings(nodes: Iterable[Any]) -> tuple[str, ...]:
    return tuple(node.string.sval for node in nodes)


def of_words(words: tuple[str, ...]) -> Named:
    """Give the name that a list of words means: the last two of them."""
    return Named(words[-2] if len(words) > 1 else "", words[-1])


def _columns_in(*nodes: Any) -> tuple[str, ...]:
    """Give the names in expressions that may be columns."""
    found = {
        field.string.sval
        for node in nodes
        for kind, one, _ in walk(node)
        if kind == "ColumnRef"
        for field in one.fields
        if field.string.sval
    }
    return tuple(sorted(found))


def functions_in(*nodes: Any) -> tuple[Named, ...]:
    """Give the functions that expressions call by name."""
    found = {
        of_words(_strings(one.funcname))
        for node in nodes
        for kind, one, _ in walk(node)
        if kind == "FuncCall"
    }
    return tuple(sorted(found))


# --- constraints ------------------------------------------------------------------------------


def _constraint(table: Named, constraint: Any, *, only: bool) -> Iterator[Demand]:
    """Give what a constraint of a table demands, also one that is not checked now."""
    kind = word_of(constraint, "contype")
    if kind in _CONSTRAINTS and (constraint.is_enforced or kind in _ALWAYS_ENFORCED):
        for demand in _CONSTRAINTS[kind](table, constraint):
            yield replace(
                demand,
                only=only or constraint.is_no_inherit,
                constraint=constraint.conname,
                later=constraint.skip_validation,
            )


# The parser leaves their flag unset.
_ALWAYS_ENFORCED = ("CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_UNIQUE")


def _check(table: Named, constraint: Any) -> Iterator[Demand]:
    yield Holds(
        table=table,
        expression=expression_text(constraint.raw_expr),
        columns=_columns_in(constraint.raw_expr),
        functions=functions_in(constraint.raw_expr),
    )


def _not_null(table: Named, constraint: Any) -> Iterator[Demand]:
    columns = _strings(constraint.keys)
    if columns:
        yield NoNull(table=table, columns=columns, doing="NOT NULL")


def _unique(table: Named, constraint: Any) -> Iterator[Demand]:
    columns = _strings(constraint.keys)
    if columns and not constraint.indexname and not constraint.without_overlaps:
        yield Distinct(
            table=table,
            columns=columns,
            keys=tuple(map(quoted, columns)),
            nulls_distinct=not constraint.nulls_not_distinct,
        )


def _primary_key(table: Named, constraint: Any) -> Iterator[Demand]:
    columns = _strings(constraint.keys)
    if columns:
        yield NoNull(table=table, columns=columns, doing="PRIMARY KEY")
        yield from _unique(table, constraint)
    elif constraint.indexname:
        yield NoNullInKey(table=table, index=constraint.indexname)


def _foreign_key(table: Named, constraint: Any) -> Iterator[Demand]:
    columns = _strings(constraint.fk_attrs)
    if columns and not constraint.fk_with_period:
        yield Known(
            table=table,
            columns=columns,
            parent=_named(constraint.pktable),
            referenced=_strings(constraint.pk_attrs),
            full=constraint.fk_matchtype == "f",
        )


_CONSTRAINTS = {
    "CONSTR_CHECK": _check,
    "CONSTR_FOREIGN": _foreign_key,
    "CONSTR_NOTNULL": _not_null,
    "CONSTR_PRIMARY": _primary_key,
    "CONSTR_UNIQUE": _unique,
}


def quoted(name: str) -> str:
    """Write a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


# --- ALTER TABLE ------------------------------------------------------------------------------


def _alter_table(node: Any) -> Iterator[Demand]:
    table, only = _named(node.relation), not node.relation.inh
    if word_of(node, "objtype") != "OBJECT_TABLE":
        return
    for one in node.cmds:
        command = one.alter_table_cmd
        judge = _COMMANDS.get(word_of(command, "subtype"))
        if judge is not None:
            yield from judge(table, command, only)


def _add_constraint(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001
    yield from _constraint(table, getattr(command, "def").constraint, only=only)


def _set_not_null(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001
    yield NoNull(table=table, columns=(command.name,), only=only, doing="SET NOT NULL")


def _validate(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001
    yield Validated(table=table, constraint=command.name, only=only)


# What gives the rows that are there a value in a new column.
_FILLED = ("CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED")
_SERIAL = ("serial", "bigserial", "smallserial", "serial4", "serial8", "serial2")


def _add_column(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001
    column = getattr(command, "def").column_def
    kinds = {word_of(item.constraint, "contype"): item.constraint for item in column.constraints}
    default = kinds.get("CONSTR_DEFAULT")
    is_null = default is not None and default.raw_expr.a_const.isnull
    filled = any(kind in kinds for kind in _FILLED) and not is_null
    serial = _strings(column.type_name.names)[-1:][0] in _SERIAL
    if kinds.keys() & {"CONSTR_NOTNULL", "CONSTR_PRIMARY"} and not filled and not serial:
        yield NoRow(table=table, only=only, new=column.colname)


def _alter_type(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001
    definition = getattr(command, "def").column_def
    using = definition.raw_default if definition.HasField("raw_default") else None
    to = definition.type_name
    yield Becomes(
        table=table,
        only=only,
        columns=(command.name, *(_columns_in(using) if using else ())),
        functions=functions_in(using) if using else (),
        column=command.name,
        value=f"({expression_text(using)})" if using else quoted(command.name),
        type=type_text(to),
        plain=using is None or _is_plain(using, command.name, to),
        base="" if to.array_bounds or to.setof else _strings(to.names)[-1],
        length=tuple(modifier.a_const.ival.ival for modifier in to.typmods),
    )


def _is_plain(using: Any, column: str, to: Any) -> bool:
    """Say whether an expression is the column, or a cast of the column to the type."""
    if using.HasField("type_cast"):
        cast = using.type_cast
        return bool(type_text(cast.type_name) == type_text(to)) and _is_column(cast.arg, column)
    return _is_column(using, column)


def _is_column(node: Any, column: str) -> bool:
    return _strings(node.column_ref.fields) == (column,)


def _attach(table: Named, command: Any, only: bool) -> Iterator[Demand]:  # noqa: FBT001, ARG001
    partition = getattr(command, "def").partition_cmd
    bound = _bound(partition.bound)
    yield Bounded(table=_named(partition.name), parent=table, bound=bound)
    if not bound.is_default:
        yield NoneInDefault(table=table, bound=bound)


_COMMANDS = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_AlterColumnType": _alter_type,
    "AT_AttachPartition": _attach,
    "AT_SetNotNull": _set_not_null,
    "AT_ValidateConstraint": _validate,
}


def _bound(node: Any) -> Bound:
    return Bound(
        strategy=node.strategy,
        lower=tuple(map(_datum, node.lowerdatums)),
        upper=tuple(map(_datum, node.upperdatums)),
        values=tuple(map(_datum, node.listdatums)),
        modulus=node.modulus,
        remainder=node.remainder,
        is_default=node.is_default,
    )


def _datum(node: Any) -> str:
    words = _strings(node.column_ref.fields)
    if len(words) == 1 and words[0] in ("minvalue", "maxvalue"):
        return words[0].upper()
    return expression_text(node)


# --- others -----------------------------------------------------------------------------------


def _index(node: Any) -> Iterator[Demand]:
    if not node.unique:
        return
    elements = [element.index_elem for element in node.index_params]
    expressions = [element.expr for element in elements if not element.name]
    where = [node.where_clause] if node.HasField("where_clause") else []
    names = (element.name for element in elements if element.name)
    yield Distinct(
        table=_named(node.relation),
        columns=tuple(sorted({*names, *_columns_in(*expressions, *where)})),
        functions=functions_in(*expressions, *where),
        only=True,
        keys=tuple(map(key_text, elements)),
        where=expression_text(where[0]) if where else "",
        nulls_distinct=not node.nulls_not_distinct,
    )


def key_text(element: Any) -> str:
    """Write what an element of an index, or of a partition key, stands for as SQL."""
    text = quoted(element.name) if element.name else f"({expression_text(element.expr)})"
    collation = ".".join(map(quoted, _strings(element.collation)))
    return f"{text} COLLATE {collation}" if collation else text


def _partition_of(node: Any) -> Iterator[Demand]:
    if node.HasField("partbound") and not node.partbound.is_default:
        for parent in node.inh_relations:
            yield NoneInDefault(table=_named(parent.range_var), bound=_bound(node.partbound))


def _alter_domain(node: Any) -> Iterator[Demand]:
    domain = of_words(_strings(node.type_name))
    constraint = getattr(node, "def").constraint
    kind = word_of(constraint, "contype")
    if node.subtype == "O" or (node.subtype == "C" and kind == "CONSTR_NOTNULL"):
        yield OfDomain(table=domain)
    elif node.subtype == "C" and kind == "CONSTR_CHECK":
        yield OfDomain(
            table=domain,
            expression=expression_text(constraint.raw_expr),
            functions=functions_in(constraint.raw_expr),
            constraint=constraint.conname,
            later=constraint.skip_validation,
        )
    elif node.subtype == "V":
        yield OfDomain(table=domain, validates=node.name, constraint=node.name)


_DEMANDING = {
    "alter_domain_stmt": _alter_domain,
    "alter_table_stmt": _alter_table,
    "create_stmt": _partition_of,
    "index_stmt": _index,
}


# --- definitions that the catalogue gives ------------------------------------------------------


def demands_of_constraint(table: Named, definition: str) -> tuple[Demand, ...]:
    """Give what a constraint demands by its definition (of pg_get_constraintdef)."""
    text = f"ALTER TABLE {quoted(table.schema)}.{quoted(table.name)} ADD {definition}"
    [statement] = parse(text).statements
    return tuple(replace(demand, later=False) for demand in demands_of(statement))


def check_of_domain(definition: str) -> tuple[str, tuple[Named, ...]]:
    """Give the expression of a check of a domain, and the functions that it calls."""
    [statement] = parse(f"ALTER DOMAIN d ADD {definition}").statements
    expression = getattr(statement.node, "def").constraint.raw_expr
    return expression_text(expression), functions_in(expression)


def keys_of_partitioning(definition: str) -> tuple[str, ...]:
    """Give the keys (SQL) by which a table is partitioned (of pg_get_partkeydef)."""
    [statement] = parse(f"CREATE TABLE t () PARTITION BY {definition}").statements
    return tuple(key_text(part.partition_elem) for part in statement.node.partspec.part_params)


def bound_of(definition: str) -> Bound:
    """Read the bound of a partition as the catalogue writes it: `FOR VALUES IN (1)`."""
    [statement] = parse(f"ALTER TABLE t ATTACH PARTITION p {definition}").statements
    [command] = statement.node.cmds
    return _bound(getattr(command.alter_table_cmd, "def").partition_cmd.bound)
