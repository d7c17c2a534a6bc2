"""The tables that files name, as they are there: what a question about their rows needs to know.

Names are looked up as the file would find them, everything else with pg_catalog alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from headwater.files.locks import Named
from headwater.postgres.connect import Connection, only_catalog_names
from headwater.postgres.translate import translated

# No operator stands here: an unqualified name is looked up as the file would find it.
_LOOK_UP = """
SELECT pg_catalog.to_regclass(name)::pg_catalog.oid
  FROM pg_catalog.unnest(%s::pg_catalog.text[]) WITH ORDINALITY AS named (name, number)
 ORDER BY number
"""

_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, pg_catalog.row_security_active(c.oid)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%s::oid[]) AND c.relkind = ANY ('{r,p,m}'::"char"[])
"""

# `equals` is the schema of the operator = by which an index of the type compares: an extension's
# type (citext) has one of its own, and search_path need not name it.
_COLUMNS = """
SELECT a.attrelid, a.attname, t.typname, a.atttypmod, a.attnotnull,
       coalesce((SELECT o.nspname FROM pg_catalog.pg_opclass k
                   JOIN pg_catalog.pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'
                   JOIN pg_catalog.pg_amop p ON p.amopfamily = k.opcfamily AND p.amopstrategy = 3
                    AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype
                   JOIN pg_catalog.pg_operator q ON q.oid = p.amopopr
                   JOIN pg_catalog.pg_namespace o ON o.oid = q.oprnamespace
                  WHERE k.opcdefault AND k.opcintype = t.oid), 'pg_catalog') AS equals
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as the catalogue has it; `type` is the bare name of its type."""

    type: str
    modifier: int
    not_null: bool
    equals: str
    """The schema of the operator by which values of the type are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is there; `hidden` says that row security keeps rows of it from the role."""

    oid: int
    schema: str
    name: str
    kind: str
    hidden: bool
    columns: Mapping[str, Column]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def named(self) -> Named:
        """Give its name in full."""
        return Named(self.schema, self.name)

    @property
    def sql(self) -> sql.Identifier:
        """Give its name as SQL."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Looks tables up, each once: nobody else's DDL is awaited in the time of a preflight."""

    connection: Connection
    known: dict[Named, Table | None] = field(default_factory=dict)

    def learn(self, names: Iterable[Named]) -> None:
        """Look up all of some names at once."""
        new = {name for name in names if name not in self.known}
        found = tables_named(self.connection, new) if new else {}
        self.known.update({name: found.get(name) for name in new})

    def table(self, name: Named) -> Table | None:
        """Give the table that a name means; None where there is none."""
        with translated("looking up the tables"):
            self.learn([name])
        return self.known[name]


def tables_named(connection: Connection, names: Collection[Named]) -> dict[Named, Table]:
    """Look up tables, partitioned tables and materialized views; what is not there is left out."""
    wanted = list(dict.fromkeys(name for name in names if name.name))
    with connection.transaction():
        found = connection.execute(_LOOK_UP, ([_quoted(name) for name in wanted],)).fetchall()
        oids = {name: oid for name, (oid,) in zip(wanted, found, strict=True) if oid}
        tables = tables_of(connection, set(oids.values()))
    return {name: tables[oid] for name, oid in oids.items() if oid in tables}


def tables_of(connection: Connection, oids: Collection[int]) -> dict[int, Table]:
    """Give tables by their oids; what is no table is left out."""
    with only_catalog_names(connection):
        rows = connection.execute(_TABLES, (list(oids),)).fetchall()
        columns = connection.execute(_COLUMNS, (list(oids),)).fetchall()
    by_table = dict[int, dict[str, Column]]()
    for oid, name, type_name, modifier, not_null, equals in columns:
        by_table.setdefault(oid, {})[name] = Column(
            type=type_name, modifier=modifier, not_null=not_null, equals=equals
        )
    return {
        oid: Table(
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            hidden=hidden,
            columns=by_table.get(oid, {}),
        )
        for oid, schema, name, kind, hidden in rows
    }


def _quoted(named: Named) -> str:
    return sql.Identifier(*filter(None, named)).as_string(None)
