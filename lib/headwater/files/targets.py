"""What a statement is about: the relations that it names as its object, not those it refers to.

An `ALTER TABLE a ADD FOREIGN KEY … REFERENCES b` is about `a`. Decided on the parse tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.files.grammar import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The names; `unknown` says that the statement is of a kind that does not tell."""

    names: frozenset[tuple[str, str]] = frozenset()
    """Schema, or nothing where the statement leaves it open, and name."""
    unknown: bool = False

    def name(self, schema: str, name: str) -> bool:
        """Say whether a relation is one of them."""
        return not self.names.isdisjoint({(schema, name), ("", name)})


# The fields that hold the relation that a statement is about, or several.
_FIELDS = ("relation", "relations", "view", "table", "rel", "sequence")


def targets_of(statement: Statement) -> Targets:
    """Give what a statement is about."""
    node = statement.node
    if statement.kind == "drop_stmt":
        # What has a bare name, a schema say, is about all that it holds.
        bare = all(each.WhichOneof("node") == "string" for each in node.objects)
        return Targets(names=frozenset(_dropped(node)), unknown=bare)
    if statement.kind == "vacuum_stmt":
        return Targets(
            names=frozenset(
                (each.vacuum_relation.relation.schemaname, each.vacuum_relation.relation.relname)
                for each in node.rels
            ),
            unknown=not node.rels,
        )
    names = frozenset(
        name
        for field in _FIELDS
        if field in node.DESCRIPTOR.fields_by_name
        for name in _names(getattr(node, field))
    )
    if statement.kind == "alter_table_stmt":
        names |= _partitions(node)
    if statement.kind == "grant_stmt":
        names |= frozenset(_names(node.objects))
    return Targets(names=names, unknown=not names)


def _partitions(node: Any) -> frozenset[tuple[str, str]]:
    """Give what is attached or detached: the statement is as much about that as about its table."""
    return frozenset(
        name
        for one in node.cmds
        for name in _names(getattr(one.alter_table_cmd, "def").partition_cmd.name)
    )


def _names(value: Any) -> list[tuple[str, str]]:
    if hasattr(value, "relname"):
        return [(value.schemaname, value.relname)] if value.relname else []
    if hasattr(value, "__len__") and not isinstance(value, str):
        return [
            (each.range_var.schemaname, each.range_var.relname)
            for each in value
            if each.range_var.relname
        ]
    return []


# What is dropped from a table is named behind it: `trigger t on kb.tags`.
_OF_TABLE = ("OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")


def _dropped(node: Any) -> list[tuple[str, str]]:
    kinds = node.DESCRIPTOR.fields_by_name["remove_type"].enum_type.values_by_number
    of_table = kinds[node.remove_type].name in _OF_TABLE
    found = []
    for each in node.objects:
        words = [item.string.sval for item in each.list.items]
        words = words[:-1] if of_table else words
        if words:
            found.append((words[-2] if len(words) > 1 else "", words[-1]))
    return found
