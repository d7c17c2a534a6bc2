"""What pending statements change before another one of the same run is reached.

The rows of today say nothing about a table that an earlier statement makes, writes, or alters in
the columns that are asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from headwater.files.demands import Demand, of_words
from headwater.files.grammar import Statement, walk, word_of
from headwater.files.locks import Named

_WRITES = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")
# May do anything, and say nothing of it.
_OPAQUE = ("do_stmt", "call_stmt")
# ALTER TABLE commands that change which rows a table has.
_MOVES = ("AT_AttachPartition", "AT_DetachPartition", "AT_AddInherit", "AT_DropInherit")
_COLUMNS = ("AT_AddColumn", "AT_AlterColumnType", "AT_DropColumn")


@dataclass(slots=True, kw_only=True)
class PendingChanges:
    """What was changed so far, by place (`0002_b.sql:3`); `key` makes two names of a table one."""

    key: Callable[[Named], object]
    made: set[object] = field(default_factory=set)
    written: dict[object, str] = field(default_factory=dict)
    columns: dict[tuple[object, str], str] = field(default_factory=dict)
    opaque: str = ""
    """Where a DO block, a procedure or a function ran."""
    later: dict[tuple[object, str], list[Demand]] = field(default_factory=dict)
    """Demands of constraints that were added NOT VALID, by table and name."""

    def note(self, statement: Statement, place: str) -> None:
        """Remember what a statement changes."""
        for name in _written_by(statement):
            self.written.setdefault(self.key(name), place)
        self.made.update(map(self.key, _made_by(statement)))
        for name, column in _columns_of(statement):
            self.columns.setdefault((self.key(name), column), place)
        if statement.kind in _OPAQUE or _calls(statement):
            self.opaque = self.opaque or place

    def keep(self, demand: Demand) -> None:
        """Remember what is not demanded before it is validated."""
        self.later.setdefault((self.key(demand.table), demand.constraint), []).append(demand)

    def kept(self, demand: Demand, name: str) -> list[Demand]:
        """Give what a constraint of this run demands when it is validated."""
        return self.later.get((self.key(demand.table), name), [])

    def is_new(self, demand: Demand, *tables: Named) -> bool:
        """Say whether a table or a column of a demand is not as it is today."""
        return any(self.key(name) in self.made for name in tables) or any(
            (self.key(demand.table), column) in self.columns for column in demand.columns
        )

    def writer(self, *tables: Named) -> str:
        """Give the place of a statement that writes one of some tables; empty when none does."""
        return next((self.written[k] for k in map(self.key, tables) if k in self.written), "")


def _named(variable: Any) -> Named:
    return Named(variable.schemaname, variable.relname)


def _written_by(statement: Statement) -> Iterator[Named]:
    """Give the tables whose rows a statement changes, wherever it says so."""
    node = statement.node
    if statement.kind == "copy_stmt" and node.is_from:
        yield _named(node.relation)
    elif statement.kind == "truncate_stmt":
        yield from (_named(one.range_var) for one in node.relations)
    elif statement.kind == "alter_table_stmt":
        for command in (one.alter_table_cmd for one in node.cmds):
            if word_of(command, "subtype") in _MOVES:
                yield _named(node.relation)
    if statement.kind not in ("create_function_stmt", "rule_stmt"):
        yield from (_named(one.relation) for kind, one, _ in walk(node) if kind in _WRITES)


def _made_by(statement: Statement) -> Iterator[Named]:
    """Give the names of tables that are made, dropped, or mean another one from now on."""
    node = statement.node
    match statement.kind:
        case "create_stmt":
            yield _named(node.relation)
        case "create_table_as_stmt":
            yield _named(node.into.rel)
        case "select_stmt" if node.into_clause.rel.relname:
            yield _named(node.into_clause.rel)
        case "rename_stmt" if word_of(node, "rename_type") == "OBJECT_TABLE":
            yield _named(node.relation)
            yield Named(node.relation.schemaname, node.newname)
        case "alter_object_schema_stmt" if node.relation.relname:
            yield _named(node.relation)
            yield Named(node.newschema, node.relation.relname)
        case "drop_stmt":
            for one in node.objects:
                words = tuple(item.string.sval for item in one.list.items)
                if words:
                    yield of_words(words)


def _columns_of(statement: Statement) -> Iterator[tuple[Named, str]]:
    """Give the columns that are not there before, or have other values afterwards."""
    node = statement.node
    if statement.kind == "rename_stmt" and word_of(node, "rename_type") == "OBJECT_COLUMN":
        yield _named(node.relation), node.subname
        yield _named(node.relation), node.newname
    elif statement.kind == "alter_table_stmt":
        for command in (one.alter_table_cmd for one in node.cmds):
            if word_of(command, "subtype") in _COLUMNS:
                definition = getattr(command, "def").column_def
                yield _named(node.relation), command.name or definition.colname


def _calls(statement: Statement) -> bool:
    """Say whether a SELECT calls a function: it may be one that writes."""
    return statement.kind == "select_stmt" and any(
        kind == "FuncCall" for kind, *_ in walk(statement.node)
    )
