"""What the text of a statement says it does to tables that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headwater.checks.rules import own
from headwater.checks.rules.chosen import ADDING_NOT_NULLABLE_FIELD, RENAMING_TABLE
from headwater.checks.rules.rule import Rule
from headwater.checks.text_file import TextFile, is_temporary, named, named_by
from headwater.files.grammar import Statement, option_is_on, word_of
from headwater.files.locks import Named
from headwater.model import Finding

Judge = Callable[[Statement, TextFile], Iterator[Finding]]

# --- rows -------------------------------------------------------------------------------------


def _rows(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Find UPDATE and DELETE without WHERE, in a WITH as well."""
    yield from _of_query(statement.kind, statement.node, statement, file, at=-1)
    for cte in statement.node.with_clause.ctes:
        expression = cte.common_table_expr
        kind = expression.ctequery.WhichOneof("node")
        node = getattr(expression.ctequery, kind)
        # The tree knows where its table is named: that is on the line of UPDATE, or close to it.
        written = hasattr(node, "relation") and node.relation.location
        yield from _of_query(kind, node, statement, file, at=written or expression.location)


def _of_query(
    kind: str, node: Any, statement: Statement, file: TextFile, *, at: int
) -> Iterator[Finding]:
    rule = _WITHOUT_WHERE.get(kind)
    if rule and _is_about_all(node) and not file.is_new(table := named(node.relation)):
        yield file.found(rule, statement, at=at, about=table)


def _is_about_all(node: Any) -> bool:
    """Say whether nothing keeps an UPDATE or DELETE from any row; `WHERE true` does not."""
    return not node.HasField("where_clause") or node.where_clause.a_const.boolval.boolval


_WITHOUT_WHERE = {
    "update_stmt": own.UPDATE_WITHOUT_WHERE,
    "delete_stmt": own.DELETE_WITHOUT_WHERE,
}


def _truncate(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if word_of(statement.node, "behavior") == "DROP_CASCADE":
        return  # ban-truncate-cascade says so
    yield from _of_each(own.TRUNCATE, statement, file)


def _of_each(rule: Rule, statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Find a statement once for each table that it names: at the table, where there are several."""
    tables = [one.range_var for one in statement.node.relations]
    for table in tables:
        if not file.is_new(named(table)):
            at = table.location if len(tables) > 1 else -1
            yield file.found(rule, statement, at=at, about=named(table))


# --- locks ------------------------------------------------------------------------------------

# Of the eight modes, from ACCESS SHARE = 1: those from SHARE on keep writers out.
_SHARE = 5


def _lock(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if statement.node.mode >= _SHARE:
        yield from _of_each(own.LOCK_TABLE, statement, file)


def _trigger(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if not file.is_new(table := named(statement.node.relation)):
        yield file.found(own.CREATE_TRIGGER, statement, about=table)


def _refresh(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if not statement.node.concurrent and not file.is_new(view := named(statement.node.relation)):
        yield file.found(own.REFRESH_NOT_CONCURRENT, statement, about=view)


def _cluster(statement: Statement, file: TextFile) -> Iterator[Finding]:
    table = named(statement.node.relation)
    if not file.is_new(table):
        yield file.found(own.CLUSTER_OR_VACUUM_FULL, statement, about=table if table.name else None)


def _vacuum(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if not option_is_on(statement.node.options, "full", default=False):
        return
    tables = [named(one.vacuum_relation.relation) for one in statement.node.rels]
    if not tables:
        yield file.found(own.CLUSTER_OR_VACUUM_FULL, statement)
    for table in tables:
        if not file.is_new(table):
            yield file.found(own.CLUSTER_OR_VACUUM_FULL, statement, about=table)


# --- CREATE TABLE -----------------------------------------------------------------------------


def _create_table(statement: Statement, file: TextFile) -> Iterator[Finding]:
    node = statement.node
    if node.HasField("partbound"):
        parent = named(node.inh_relations[0].range_var)
        if not file.is_new(parent):
            yield file.found(own.PARTITION_OF, statement, about=parent)
    if is_temporary(node.relation):
        return
    keys, referring = _keys(node)
    for element in node.table_elts:
        column = element.column_def
        if column.colname:
            yield from _type(column, statement, file)
            is_key = column.colname in keys or _has(column, "CONSTR_PRIMARY")
            if is_key and column.colname not in referring:
                yield from _key(column, statement, file)


def _keys(node: Any) -> tuple[set[str], set[str]]:
    """Give the column that is the primary key by itself, and those that refer to another table."""
    keys, referring = set[str](), set[str]()
    for element in node.table_elts:
        constraint = element.constraint
        kind = word_of(constraint, "contype")
        if kind == "CONSTR_PRIMARY" and len(constraint.keys) == 1:
            keys.add(constraint.keys[0].string.sval)
        referring |= {column.string.sval for column in constraint.fk_attrs}
    return keys, referring


def _has(column: Any, kind: str) -> bool:
    return any(word_of(one.constraint, "contype") == kind for one in column.constraints)


def _type_of(column: Any) -> str:
    """Give the name of a type of PostgreSQL itself; '' for one of somebody's schema."""
    names = [name.string.sval for name in column.type_name.names]
    return names[-1] if names and names[:-1] in ([], ["pg_catalog"]) else ""


_SERIAL = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
_NARROW = frozenset({"int4", "serial", "serial4", "smallserial", "serial2"})
_DOUBTFUL = {"json": own.JSON_COLUMN, "money": own.MONEY_COLUMN}


def _type(column: Any, statement: Statement, file: TextFile) -> Iterator[Finding]:
    if rule := _DOUBTFUL.get(_type_of(column)):
        yield file.found(rule, statement, at=column.type_name.location)


def _key(column: Any, statement: Statement, file: TextFile) -> Iterator[Finding]:
    kind = _type_of(column)
    numbered = kind == "int2" and _has(column, "CONSTR_IDENTITY")
    if (kind in _NARROW or numbered) and not _has(column, "CONSTR_FOREIGN"):
        yield file.found(own.INTEGER_PRIMARY_KEY, statement, at=column.type_name.location)


# --- ALTER TABLE ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """One command of an ALTER TABLE; `new` says that the file itself made the table."""

    node: Any
    statement: Statement
    file: TextFile
    table: Named
    new: bool

    @property
    def definition(self) -> Any:
        return getattr(self.node, "def")

    def found(self, rule: Rule, *, at: int = -1, about: Named | None = None) -> Finding:
        return self.file.found(rule, self.statement, at=at, about=about or self.table)


def _alter_table(statement: Statement, file: TextFile) -> Iterator[Finding]:
    table = named(statement.node.relation)
    new = file.is_new(table)
    for one in statement.node.cmds:
        command = _Command(
            node=one.alter_table_cmd, statement=statement, file=file, table=table, new=new
        )
        kind = word_of(command.node, "subtype")
        if judge := _COMMANDS.get(kind):
            yield from judge(command)
        if not new and word_of(command.node, "behavior") == "DROP_CASCADE" and "Drop" in kind:
            yield command.found(own.DROP_CASCADE)


def _add_column(command: _Command) -> Iterator[Finding]:
    column = command.definition.column_def
    yield from _column_type(command)
    if _has(column, "CONSTR_PRIMARY"):
        yield from _key(column, command.statement, command.file)
    if not command.new:
        yield from _written_into_rows(column, command)


def _written_into_rows(column: Any, command: _Command) -> Iterator[Finding]:
    """Find what makes PostgreSQL go through the rows to which a column is added."""
    for one in column.constraints:
        constraint = one.constraint
        rule = _ADDED_WITH.get(word_of(constraint, "contype"))
        if rule and constraint.generated_kind != "v":
            yield command.found(rule, at=constraint.location)
    type_name = column.type_name
    if _type_of(column) in _SERIAL:
        yield command.found(own.ADD_SERIAL_COLUMN, at=type_name.location)
    if named_by(type_name.names) in command.file.checked_domains:
        yield command.found(own.ADD_DOMAIN_COLUMN, at=type_name.location)


_ADDED_WITH = {
    "CONSTR_CHECK": own.ADD_COLUMN_CHECK,
    "CONSTR_GENERATED": own.STORED_GENERATED_COLUMN,
    "CONSTR_IDENTITY": own.ADD_SERIAL_COLUMN,
}


def _column_type(command: _Command) -> Iterator[Finding]:
    yield from _type(command.definition.column_def, command.statement, command.file)


def _add_constraint(command: _Command) -> Iterator[Finding]:
    constraint = command.definition.constraint
    kind = word_of(constraint, "contype")
    name = (command.table, str(constraint.conname))
    if constraint.skip_validation:
        command.file.unvalidated.add(name)
    command.file.learnt.about[name] = _never_null(kind, constraint)
    if kind == "CONSTR_EXCLUSION" and not command.new:
        yield command.found(own.ADDING_EXCLUSION, at=constraint.location)


def _never_null(kind: str, constraint: Any) -> str:
    """Give the column that a constraint says is not null, '' for any other constraint."""
    if kind == "CONSTR_NOTNULL":
        return str(constraint.keys[0].string.sval)
    test = constraint.raw_expr.null_test
    if kind == "CONSTR_CHECK" and word_of(test, "nulltesttype") == "IS_NOT_NULL":
        fields = test.arg.column_ref.fields
        return str(fields[-1].string.sval) if fields else ""
    return ""


def _validate(command: _Command) -> Iterator[Finding]:
    file, constraint = command.file, (command.table, str(command.node.name))
    if file.transactional and constraint in file.unvalidated and not command.new:
        yield command.found(own.VALIDATE_IN_SAME_FILE)
    file.validated.add(constraint)
    if column := file.learnt.about.get(constraint):
        file.learnt.proved.add((command.table, column))


def _drop_constraint(command: _Command) -> Iterator[Finding]:
    """Forget what a constraint has proved; so it yields nothing."""
    column = command.file.learnt.about.pop((command.table, str(command.node.name)), "")
    command.file.learnt.proved.discard((command.table, column))
    yield from ()


def _set_not_null(command: _Command) -> Iterator[Finding]:
    """Judge what squawk is silent about: NOT NULL behind a VALIDATE that proves another column.

    A constraint of a file that was not read proves the column that is in its name, one hopes.
    """
    file, table, column = command.file, command.table, str(command.node.name)
    if (table, column) in file.learnt.proved:
        file.silence(command.statement, ADDING_NOT_NULLABLE_FIELD)
        return
    validated = [name for where, name in file.validated if where == table]
    unread = (name for name in validated if (table, name) not in file.learnt.about)
    if validated and not command.new and not any(column in name for name in unread):
        yield command.found(ADDING_NOT_NULLABLE_FIELD)


def _attach(command: _Command) -> Iterator[Finding]:
    partition = command.definition.partition_cmd.name
    if not command.file.is_new(table := named(partition)):
        yield command.found(own.ATTACH_PARTITION, at=partition.location, about=table)


def _move(command: _Command) -> Iterator[Finding]:
    kind = word_of(command.statement.node, "objtype")
    if not command.new and kind in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        yield command.found(own.MOVE_TABLE)


def _disable(command: _Command) -> Iterator[Finding]:
    """Keep what is wrong unless the file switches the trigger on again; so it yields nothing."""
    if not command.new:
        command.file.pending[_trigger_of(command)] = command.found(own.DISABLE_TRIGGER)
    yield from ()


def _enable(command: _Command) -> Iterator[Finding]:
    command.file.pending.pop(_trigger_of(command), None)
    yield from ()


def _trigger_of(command: _Command) -> tuple[str, ...]:
    """Name a trigger, or ALL or USER of a table, alike in ENABLE and DISABLE."""
    which = word_of(command.node, "subtype").partition("Trig")[2]
    return ("trigger", *command.table, which, str(command.node.name))


_COMMANDS: dict[str, Callable[[_Command], Iterator[Finding]]] = {
    "AT_AddColumn": _add_column,
    "AT_AlterColumnType": _column_type,
    "AT_AddConstraint": _add_constraint,
    "AT_ValidateConstraint": _validate,
    "AT_DropConstraint": _drop_constraint,
    "AT_SetNotNull": _set_not_null,
    "AT_AttachPartition": _attach,
    "AT_SetLogged": _move,
    "AT_SetUnLogged": _move,
    "AT_SetAccessMethod": _move,
    "AT_SetTableSpace": _move,
    "AT_DisableTrig": _disable,
    "AT_DisableTrigAll": _disable,
    "AT_DisableTrigUser": _disable,
    "AT_EnableTrig": _enable,
    "AT_EnableTrigAll": _enable,
    "AT_EnableTrigUser": _enable,
}

# --- others -----------------------------------------------------------------------------------


def _domain(statement: Statement, file: TextFile) -> Iterator[Finding]:
    node = statement.node
    kinds = {word_of(one.constraint, "contype") for one in node.constraints}
    if kinds & {"CONSTR_CHECK", "CONSTR_NOTNULL"}:
        file.checked_domains.add(named_by(node.domainname))
    yield from ()


def _drop(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if word_of(statement.node, "behavior") == "DROP_CASCADE":
        names = list(dropped(statement.node))
        if not names or not all(map(file.is_new, names)):
            yield file.found(own.DROP_CASCADE, statement)


def dropped(node: Any) -> Iterator[Named]:
    """Give the names that a DROP names: of a trigger or policy the table's; of a schema none."""
    on_table = word_of(node, "remove_type") in ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")
    for one in node.objects:
        kind = one.WhichOneof("node")
        words = {
            "list": one.list.items,
            "type_name": one.type_name.names,
            "object_with_args": one.object_with_args.objname,
        }.get(kind, ())
        if words:
            yield named_by(words[:-1] if on_table else words)


def _move_to_schema(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Find a table or view that is asked for in vain where it was."""
    relation = statement.node.relation
    if relation.relname and not file.is_new(table := named(relation)):
        yield file.found(RENAMING_TABLE, statement, about=table)


def _drop_other(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if word_of(statement.node, "behavior") == "DROP_CASCADE":
        yield file.found(own.DROP_CASCADE, statement)


TABLES: dict[str, Judge] = {
    "update_stmt": _rows,
    "delete_stmt": _rows,
    "insert_stmt": _rows,
    "select_stmt": _rows,
    "merge_stmt": _rows,
    "truncate_stmt": _truncate,
    "lock_stmt": _lock,
    "create_trig_stmt": _trigger,
    "refresh_mat_view_stmt": _refresh,
    "cluster_stmt": _cluster,
    "vacuum_stmt": _vacuum,
    "create_stmt": _create_table,
    "alter_table_stmt": _alter_table,
    "create_domain_stmt": _domain,
    "drop_stmt": _drop,
    "alter_object_schema_stmt": _move_to_schema,
    "drop_owned_stmt": _drop_other,
    "alter_domain_stmt": _drop_other,
}
