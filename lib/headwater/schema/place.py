"""How the rows of a catalogue are named: the pieces of SQL from which `identities` is made.

A row is `t`; its relation, when it is a part of one, is `r` in the schema `n`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from psycopg import sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How rows of a catalogue are named: SQL expressions, the joins they need.

    `covers` are the columns that the identity tells; `relation` is the column with the relation
    that the row is a part of.
    """

    kind: sql.Composable
    name: sql.Composable
    covers: tuple[str, ...]
    schema: sql.Composable = field(default_factory=lambda: sql.NULL)
    parent: sql.Composable = field(default_factory=lambda: sql.NULL)
    joins: sql.Composable = field(default_factory=lambda: sql.SQL(""))
    relation: str | None = None


_KIND: Final = sql.SQL(
    "case {relation}.relkind when 'r' then 'table' when 'p' then 'table' when 'i' then 'index'"
    " when 'I' then 'index' when 'v' then 'view' when 'S' then 'sequence'"
    " when 'm' then 'materialized view' when 'f' then 'foreign table' when 'c' then 'type'"
    " else {relation}.relkind::text end"
)
_NAME: Final = sql.SQL("quote_ident({namespace}.nspname) || '.' || quote_ident({row}.{column})")


def text(value: str) -> sql.Composable:
    """Give a constant, such as the kind of all rows of a catalogue."""
    return sql.Literal(value)


def kind_of(relation: str) -> sql.Composable:
    """Give the kind of the pg_class row that is known under this alias."""
    return _KIND.format(relation=sql.Identifier(relation))


def name_of(row: str, column: str, namespace: str = "n") -> sql.Composable:
    """Give the qualified name of a row: its schema and a column."""
    return _NAME.format(
        namespace=sql.Identifier(namespace), row=sql.Identifier(row), column=sql.Identifier(column)
    )


RELATION: Final = name_of("r", "relname")
RELATION_IDENTITY: Final = sql.SQL("{} || ' ' || {}").format(kind_of("r"), RELATION)
IN_RELATION: Final = sql.SQL(
    "join pg_class r on r.oid = t.{} join pg_namespace n on n.oid = r.relnamespace"
)
SCHEMA: Final = sql.SQL("n.nspname::text")


def part(kind: str, name: str, relation: str) -> Place:
    """Name a part of a relation: `trigger x on kb.t`."""
    return Place(
        kind=text(kind),
        name=sql.SQL("quote_ident(t.{}) || ' on ' || {}").format(sql.Identifier(name), RELATION),
        covers=(name, relation),
        schema=SCHEMA,
        parent=RELATION_IDENTITY,
        joins=IN_RELATION.format(sql.Identifier(relation)),
        relation=relation,
    )


def more_of(relation: str) -> Place:
    """Name a row that says more about a relation that has a row in pg_class."""
    return Place(
        kind=kind_of("r"),
        name=RELATION,
        covers=(relation,),
        schema=SCHEMA,
        joins=IN_RELATION.format(sql.Identifier(relation)),
        relation=relation,
    )


def in_schema(kind: str, prefix: str, *, suffix: str = "", joins: str = "") -> Place:
    """Name an object of a schema by its own name: `collation kb.german`."""
    name, namespace = f"{prefix}name", f"{prefix}namespace"
    return Place(
        kind=text(kind),
        name=sql.SQL("{}{}").format(name_of("t", name), sql.SQL(suffix)),
        covers=(name, namespace),
        schema=SCHEMA,
        joins=sql.SQL("join pg_namespace n on n.oid = t.{} {}").format(
            sql.Identifier(namespace), sql.SQL(joins)
        ),
    )


def in_database(kind: str, name: str) -> Place:
    """Name an object that belongs to the database as a whole: `extension vector`."""
    return Place(
        kind=text(kind),
        name=sql.SQL("quote_ident(t.{})").format(sql.Identifier(name)),
        covers=(name,),
    )


_OF_FAMILY: Final = sql.SQL(
    "quote_ident(n.nspname) || '.' || quote_ident(f.opfname) || ' using ' || quote_ident(m.amname)"
)


def member(kind: str, prefix: str, number: str) -> Place:
    """Name a member of an operator family by its number and its two types."""
    family = f"{prefix}family"
    return Place(
        kind=text(kind),
        name=sql.SQL(
            "t.{number} || ' (' || format_type(t.{left}, null) || ', '"
            " || format_type(t.{right}, null) || ') of ' || {family}"
        ).format(
            number=sql.Identifier(number),
            left=sql.Identifier(f"{prefix}lefttype"),
            right=sql.Identifier(f"{prefix}righttype"),
            family=_OF_FAMILY,
        ),
        covers=(family, f"{prefix}lefttype", f"{prefix}righttype", number),
        schema=SCHEMA,
        parent=sql.SQL("'operator family ' || {}").format(_OF_FAMILY),
        joins=sql.SQL(
            "join pg_opfamily f on f.oid = t.{} join pg_namespace n on n.oid = f.opfnamespace"
            " join pg_am m on m.oid = f.opfmethod"
        ).format(sql.Identifier(family)),
    )


def by_oid(
    kind: sql.Composable,
    alias: str,
    namespace: str,
    *covers: str,
    parent: sql.Composable = sql.NULL,
) -> Place:
    """Name what the server can spell from an oid alone: functions and operators."""
    return Place(
        kind=kind,
        name=sql.SQL("t.oid::{}::text").format(sql.SQL(alias)),
        covers=(namespace, *covers),
        schema=SCHEMA,
        parent=parent,
        joins=sql.SQL("join pg_namespace n on n.oid = t.{}").format(sql.Identifier(namespace)),
    )
