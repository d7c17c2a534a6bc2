"""Questions to the rows of a table: each a query for the rows that would make a statement fail.

Nothing is run here but looks at the catalogue. Names are quoted by the driver, expressions are
what the parser has written again, so that nothing but one expression can stand in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg import sql

from headwater.files.demands import (
    Becomes,
    Bound,
    Bounded,
    Demand,
    Distinct,
    Holds,
    Known,
    NoneInDefault,
    NoNull,
    NoNullInKey,
    NoRow,
    OfDomain,
    Validated,
    bound_of,
    check_of_domain,
    demands_of_constraint,
    keys_of_partitioning,
)
from headwater.files.locks import Named
from headwater.postgres.asked_tables import Lookup, Table, tables_of
from headwater.postgres.connect import only_catalog_names


class About(StrEnum):
    """What is wrong with the rows that a question looks for."""

    NULL = "null"
    DUPLICATE = "duplicate"
    ORPHAN = "orphan"
    CHECK = "check"
    TOO_LONG = "too-long"
    CAST = "cast"
    PARTITION = "partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query for rows that would make a statement fail: `SELECT shown body`.

    `doing` would fail because of the rows of `table` that `rest` tells of. Where `value` is given,
    it is not known which rows fail: computing it for all of them does. `risky` says that an
    expression of a file is computed, and may itself fail on a value.
    """

    about: About
    table: Table
    doing: str
    rest: str
    body: sql.Composable
    shown: sql.Composable | None = None
    unit: str = "row"
    value: sql.Composable | None = None
    risky: bool = False
    functions: tuple[Named, ...] = ()
    tables: tuple[Table, ...] = ()
    """Other tables that it reads."""

    @property
    def reads(self) -> tuple[Table, ...]:
        """Give every table that it reads."""
        return (self.table, *self.tables)


def questions_for(lookup: Lookup, demand: Demand) -> Iterator[Question]:
    """Give the questions that tell whether rows meet a demand; none where nothing can fail.

    (Neither where what it is about is not there: the statement fails for another reason then.)
    Raises NotParsed for a definition in the catalogue that the parser does not know.
    """
    ask = _ASKING.get(type(demand))
    if ask is not None:
        yield from ask(lookup, demand)


def _from(table: Table, *, only: bool) -> sql.Composed:
    """Write FROM: with ONLY where the tables that inherit from it are left out."""
    alone = only and table.kind != "p"
    return sql.SQL("FROM {}{}").format(sql.SQL("ONLY " if alone else ""), table.sql)


def _where(table: Table, condition: sql.Composable, *, only: bool) -> sql.Composed:
    return sql.SQL("{} WHERE {}").format(_from(table, only=only), condition)


def _raw(text: str) -> sql.SQL:
    """Take what the parser wrote as SQL."""
    return sql.SQL(text)


def _listed(words: Sequence[str], last: str = "or") -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


# --- NULL, duplicates, orphans, checks --------------------------------------------------------


def _of_nulls(lookup: Lookup, demand: NoNull) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is None:
        return
    columns = [c for c in demand.columns if c in table.columns and not table.columns[c].not_null]
    if columns:
        nulls = [sql.SQL("{} IS NULL").format(sql.Identifier(column)) for column in columns]
        yield Question(
            about=About.NULL,
            table=table,
            doing=demand.doing,
            rest=f"with NULL in {_listed(columns)}",
            body=_where(table, sql.SQL(" OR ").join(nulls), only=demand.only),
        )


_KEY = """
SELECT a.attname
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
   AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1])
 WHERE i.indrelid = %s::oid AND c.relname = %s ORDER BY a.attnum
"""


def _of_nulls_in_key(lookup: Lookup, demand: NoNullInKey) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is None:
        return
    with only_catalog_names(lookup.connection):
        rows = lookup.connection.execute(_KEY, (table.oid, demand.index)).fetchall()
    columns = tuple(name for (name,) in rows)
    yield from _of_nulls(lookup, NoNull(table=table.named, columns=columns, doing="PRIMARY KEY"))


def _of_rows(lookup: Lookup, demand: NoRow) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is not None and demand.new not in table.columns:
        yield Question(
            about=About.NULL,
            table=table,
            doing="a new column that is NOT NULL and has no default",
            rest=f"without a value for {demand.new}",
            body=_from(table, only=demand.only),
        )


def _of_duplicates(lookup: Lookup, demand: Distinct) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is None:
        return
    names = [sql.Identifier(f"key_{number}") for number in range(1, len(demand.keys) + 1)]
    keys = [
        sql.SQL("{} AS {}").format(_raw(key), name)
        for key, name in zip(demand.keys, names, strict=True)
    ]
    rows = _from(table, only=True)
    if demand.where:
        rows = sql.SQL("{} WHERE ({})").format(rows, _raw(demand.where))
    present = [sql.SQL("{} IS NOT NULL").format(name) for name in names]
    counted = sql.SQL(" AND ").join(present if demand.nulls_distinct else [sql.SQL("true")])
    listed = sql.SQL(", ").join(names)
    yield Question(
        about=About.DUPLICATE,
        table=table,
        doing=f"UNIQUE ({', '.join(demand.keys)})".replace('"', ""),
        rest="in more than one row",
        unit="value",
        shown=sql.SQL("{}, pg_catalog.count(*)").format(listed),
        body=sql.SQL(
            "FROM (SELECT {} {}) AS keyed WHERE {} GROUP BY {} HAVING pg_catalog.count(*) > 1"
        ).format(
            sql.SQL(", ").join(keys),
            rows,
            counted if demand.nulls_distinct else sql.SQL("true"),
            listed,
        ),
        risky=bool(demand.functions),
        functions=demand.functions,
    )


_PRIMARY_KEY = """
SELECT a.attname
  FROM pg_catalog.pg_index i
 CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, number)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = %s::oid AND i.indisprimary ORDER BY k.number
"""


def _of_orphans(lookup: Lookup, demand: Known) -> Iterator[Question]:
    table, parent = lookup.table(demand.table), lookup.table(demand.parent)
    if table is None or parent is None:
        return
    referenced = demand.referenced
    if not referenced:
        with only_catalog_names(lookup.connection):
            rows = lookup.connection.execute(_PRIMARY_KEY, (parent.oid,)).fetchall()
        referenced = tuple(name for (name,) in rows)
    if len(referenced) != len(demand.columns) or not set(referenced) <= parent.columns.keys():
        return
    pairs = zip(demand.columns, referenced, strict=True)
    matches = [
        sql.SQL("parent.{} OPERATOR({}.=) child.{}").format(
            sql.Identifier(other),
            sql.Identifier(parent.columns[other].equals),
            sql.Identifier(column),
        )
        for column, other in pairs
    ]
    missing = sql.SQL("NOT EXISTS (SELECT {} AS parent WHERE {})").format(
        _from(parent, only=True), sql.SQL(" AND ").join(matches)
    )
    yield Question(
        about=About.ORPHAN,
        table=table,
        tables=(parent,),
        doing=f"FOREIGN KEY ({', '.join(demand.columns)})",
        rest=f"without a row of {parent} to refer to",
        shown=sql.SQL("child.*"),
        body=sql.SQL("{} AS child WHERE {}").format(
            _from(table, only=True), _orphaned(demand, missing)
        ),
    )


def _orphaned(demand: Known, missing: sql.Composable) -> sql.Composed:
    """Write the condition: with MATCH FULL a key that is NULL in a part of it refers to nothing."""
    columns = [sql.SQL("child.{}").format(sql.Identifier(column)) for column in demand.columns]
    none_null = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(c) for c in columns)
    if not demand.full:
        return sql.SQL("{} AND {}").format(none_null, missing)
    all_null = sql.SQL(" AND ").join(sql.SQL("{} IS NULL").format(c) for c in columns)
    return sql.SQL("NOT ({}) AND (NOT ({}) OR {})").format(all_null, none_null, missing)


def _of_check(lookup: Lookup, demand: Holds) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is not None:
        yield Question(
            about=About.CHECK,
            table=table,
            doing=f"CHECK ({demand.expression})",
            rest="for which it is false",
            body=_where(
                table,
                sql.SQL("({}) IS FALSE").format(_raw(demand.expression)),
                only=demand.only,
            ),
            risky=True,
            functions=demand.functions,
        )


# --- ALTER TYPE -------------------------------------------------------------------------------

_TEXTS = ("text", "varchar", "bpchar")
_INTEGERS = {"int2": 15, "int4": 31, "int8": 63}
_NUMBERS = (*_INTEGERS, "numeric", "float4", "float8")
_TIMES = ("timestamp", "timestamptz", "date")
_HEADER = 4  # of a type modifier: VARHDRSZ

# pg_input_is_valid, which says of one value what else the first bad one ends.
_ASKS_EACH = 16_00_00


def _of_type(lookup: Lookup, demand: Becomes) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is None or demand.column not in table.columns:
        return
    column = table.columns[demand.column]
    if demand.plain and _always_fits(column.type, column.modifier, demand.base, demand.length):
        return
    # A plain cast is asked of the column itself, whatever stands behind USING.
    value = sql.Identifier(demand.column) if demand.plain else _raw(demand.value)
    question = Question(
        about=About.TOO_LONG,
        table=table,
        doing=f"type {demand.type}",
        rest=f"whose {demand.column} does not fit",
        body=_from(table, only=demand.only),
        risky=not demand.plain,
        functions=demand.functions,
    )
    limit = _beyond(column.type, value, demand)
    if limit is not None:
        yield replace(question, body=_where(table, limit, only=demand.only))
    else:
        each = lookup.connection.info.server_version >= _ASKS_EACH and column.type in _TEXTS
        yield _of_cast(question, demand, value, each=each)


def _of_cast(question: Question, demand: Becomes, value: sql.Composable, *, each: bool) -> Question:
    """Ask of each value whether it can be cast, or cast all of them."""
    question = replace(
        question, about=About.CAST, rest=f"whose {demand.column} cannot become one", risky=True
    )
    if demand.plain and each:
        condition = sql.SQL(
            "NOT pg_catalog.pg_input_is_valid(CAST({} AS pg_catalog.text), {})"
        ).format(value, sql.Literal(demand.type))
        return replace(question, body=_where(question.table, condition, only=demand.only))
    return replace(question, value=sql.SQL("CAST({} AS {})").format(value, _raw(demand.type)))


def _always_fits(old: str, modifier: int, new: str, length: tuple[int, ...]) -> bool:
    """Say whether every value of a type has a place in another one."""
    if new in _TEXTS:
        known = old in _TEXTS and modifier >= _HEADER
        return not length or (known and modifier - _HEADER <= length[0])
    if new == "numeric" and old == "numeric" and length and modifier >= _HEADER:
        precision, scale = _numeric(modifier)
        wide, fine = (*length, 0)[:2]
        return fine >= scale and wide - fine >= precision - scale
    if length:
        return False
    ranks = {"int2": 1, "int4": 2, "int8": 3, "numeric": 4}
    return (
        old == new
        or (old in _TIMES and new in _TIMES)
        or (old in ranks and new in ranks and ranks[old] < ranks[new])
        or (old in _NUMBERS and new == "float8" and old != "numeric")
    )


def _numeric(modifier: int) -> tuple[int, int]:
    """Give precision and scale; the scale has eleven bits and a sign (numeric.c)."""
    packed = modifier - _HEADER
    return packed >> 16 & 0xFFFF, (packed & 0x7FF ^ 0x400) - 0x400


def _beyond(old: str, value: sql.Composable, demand: Becomes) -> sql.Composed | None:
    """Write the condition by which a value is too long or too large; None where none is known.

    Blanks at the end are cut off by the server without a word, as the standard wants it.
    """
    if demand.base in ("varchar", "bpchar") and demand.length:
        return sql.SQL(
            "pg_catalog.char_length(pg_catalog.rtrim(CAST({} AS pg_catalog.text), ' ')) > {}"
        ).format(value, sql.Literal(demand.length[0]))
    if not demand.plain or old not in _NUMBERS:
        return None
    number = sql.SQL("CAST({} AS pg_catalog.numeric)").format(value)
    if demand.base in _INTEGERS:
        most = 2 ** _INTEGERS[demand.base]
        return sql.SQL("pg_catalog.round({}) NOT BETWEEN {} AND {}").format(
            number, sql.Literal(-most), sql.Literal(most - 1)
        )
    if demand.base == "numeric" and demand.length:
        wide, fine = (*demand.length, 0)[:2]
        limit = Decimal(10) ** (wide - fine)
        return sql.SQL(
            "{number} <> 'NaN' AND pg_catalog.abs(pg_catalog.round({number}, {scale})) >= {limit}"
        ).format(number=number, scale=sql.Literal(fine), limit=sql.Literal(limit))
    return None


# --- partitions -------------------------------------------------------------------------------

_PARTITIONING = """
SELECT pg_catalog.pg_get_partkeydef(p.partrelid), nullif(p.partdefid, 0)
  FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = %s::oid
"""
_SIBLINGS = """
SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid)
  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::oid AND c.relpartbound IS NOT NULL ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partitioned:
    """A partitioned table: its keys (SQL), its default partition, the bounds of all others."""

    table: Table
    keys: tuple[str, ...]
    default: int | None
    bounds: tuple[Bound, ...]


def _partitioned(lookup: Lookup, name: Named) -> _Partitioned | None:
    table = lookup.table(name)
    if table is None or table.kind != "p":
        return None
    with only_catalog_names(lookup.connection):
        row: Any = lookup.connection.execute(_PARTITIONING, (table.oid,)).fetchone()
        bounds = [bound_of(text) for (text,) in lookup.connection.execute(_SIBLINGS, (table.oid,))]
    return _Partitioned(
        table=table,
        keys=keys_of_partitioning(row[0]),
        default=row[1],
        bounds=tuple(bound for bound in bounds if not bound.is_default),
    )


def _of_bounds(lookup: Lookup, demand: Bounded) -> Iterator[Question]:
    parent, table = _partitioned(lookup, demand.parent), lookup.table(demand.table)
    if parent is None or table is None:
        return
    if demand.bound.is_default:
        taken = [_within(parent, bound) for bound in parent.bounds]
        outside: sql.Composable = sql.SQL(" OR ").join(taken)
        rest = "that belong to another partition"
        if not taken:
            return
    else:
        outside = sql.SQL("({}) IS NOT TRUE").format(_within(parent, demand.bound))
        rest = "outside its bounds"
    yield Question(
        about=About.PARTITION,
        table=table,
        doing="ATTACH PARTITION",
        rest=rest,
        body=_where(table, outside, only=False),
    )


def _of_default(lookup: Lookup, demand: NoneInDefault) -> Iterator[Question]:
    parent = _partitioned(lookup, demand.table)
    if parent is None or parent.default is None:
        return
    with lookup.connection.transaction():
        default = tables_of(lookup.connection, [parent.default]).get(parent.default)
    if default is not None:
        yield Question(
            about=About.PARTITION,
            table=default,
            doing="a new partition",
            rest="that belong to it",
            body=_where(default, _within(parent, demand.bound), only=False),
        )


def _within(parent: _Partitioned, bound: Bound) -> sql.Composable:
    """Write the condition by which a row belongs to a partition; NULL is like false."""
    if bound.strategy == "h":
        return sql.SQL(
            "pg_catalog.satisfies_hash_partition({}::pg_catalog.regclass, {}, {}, {})"
        ).format(
            sql.Literal(parent.table.sql.as_string(None)),
            sql.Literal(bound.modulus),
            sql.Literal(bound.remainder),
            _raw(", ".join(parent.keys)),
        )
    if bound.strategy == "l":
        return _in_list(parent.keys[0], bound.values)
    present = [sql.SQL("{} IS NOT NULL").format(_raw(key)) for key in parent.keys]
    limits = [
        _limit(parent.keys, bound.lower, low=True),
        _limit(parent.keys, bound.upper, low=False),
    ]
    conditions = [*present, *(limit for limit in limits if limit is not None)]
    return sql.SQL("({})").format(sql.SQL(" AND ").join(conditions))


def _in_list(key: str, values: Sequence[str]) -> sql.Composed:
    given = [_raw(f"({value})") for value in values if value != "NULL"]
    choices = [sql.SQL("{} IN ({})").format(_raw(key), sql.SQL(", ").join(given))] if given else []
    if len(given) < len(values):
        choices.append(sql.SQL("{} IS NULL").format(_raw(key)))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(choices))


def _limit(keys: Sequence[str], datums: Sequence[str], *, low: bool) -> sql.Composed | None:
    """Compare the keys with a bound, up to its first MINVALUE or MAXVALUE (which is an infinity).

    The lower bound belongs to the partition, the upper one does not. A key that is equal up to an
    infinity is above MINVALUE and below MAXVALUE.
    """
    infinite = next((n for n, d in enumerate(datums) if d in ("MINVALUE", "MAXVALUE")), len(datums))
    if infinite == 0:
        # FROM (MINVALUE) and TO (MAXVALUE) leave nothing out.
        return None if (datums[0] == "MINVALUE") == low else sql.SQL("false").format()
    end = datums[infinite] if infinite < len(datums) else "MINVALUE"
    operator = {(True, "MINVALUE"): ">=", (True, "MAXVALUE"): ">"}.get((low, end), "<")
    if not low and end == "MAXVALUE":
        operator = "<="
    return sql.SQL("({}) {} ({})").format(
        _raw(", ".join(keys[:infinite])), _raw(operator), _raw(", ".join(datums[:infinite]))
    )


# --- constraints that are there ---------------------------------------------------------------

# (Of pg_get_constraintdef with nothing in search_path, every name is written in full.)
_DEFINITION = """
SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
 WHERE conrelid = %s::oid AND conname = %s AND NOT convalidated
"""
_DOMAIN = "SELECT pg_catalog.to_regtype(%s::pg_catalog.text)::pg_catalog.oid"
_DOMAIN_DEFINITION = """
SELECT pg_catalog.pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
 WHERE contypid = %s::oid AND conname = %s AND NOT convalidated
"""
# Partitions are read with their parent.
_USES = """
SELECT c.oid, a.attname
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE a.atttypid = %s::oid AND NOT a.attisdropped AND NOT c.relispartition
   AND c.relkind = ANY ('{r,p,m}'::"char"[])
 ORDER BY c.oid, a.attnum
"""


def _of_constraint(lookup: Lookup, demand: Validated) -> Iterator[Question]:
    table = lookup.table(demand.table)
    if table is None:
        return
    with only_catalog_names(lookup.connection):
        row = lookup.connection.execute(_DEFINITION, (table.oid, demand.constraint)).fetchone()
    if row is not None:
        for one in demands_of_constraint(table.named, row[0]):
            for question in questions_for(lookup, replace(one, only=demand.only)):
                yield replace(question, doing=f"VALIDATE CONSTRAINT {demand.constraint}")


def _of_domain(lookup: Lookup, demand: OfDomain) -> Iterator[Question]:
    name = sql.Identifier(*filter(None, demand.table)).as_string(None)
    row: Any = lookup.connection.execute(_DOMAIN, (name,)).fetchone()
    domain = row[0] or 0
    with only_catalog_names(lookup.connection):
        uses = lookup.connection.execute(_USES, (domain,)).fetchall()
        given = lookup.connection.execute(_DOMAIN_DEFINITION, (domain, demand.validates)).fetchone()
        tables = tables_of(lookup.connection, {oid for oid, _ in uses})
    if demand.validates and given is None:
        return
    if given is not None:
        expression, functions = check_of_domain(given[0])
        demand = replace(demand, expression=expression, functions=functions)
    for oid, column in uses:
        if oid in tables:
            yield _of_use(tables[oid], column, demand, name)


def _of_use(table: Table, column: str, demand: OfDomain, domain: str) -> Question:
    """Ask of the values of one column, as `value`, the name that the check knows."""
    values = sql.SQL("FROM (SELECT {} AS value {}) AS used").format(
        sql.Identifier(column), _from(table, only=False)
    )
    condition = sql.SQL("value IS NULL")
    what = "NOT NULL"
    if demand.expression:
        condition = sql.SQL("({}) IS FALSE").format(_raw(demand.expression))  # type: ignore[assignment]
        what = f"CHECK ({demand.expression})"
    return Question(
        about=About.CHECK if demand.expression else About.NULL,
        table=table,
        doing=f"{what} of the domain {domain}",
        rest=f"whose {column} breaks it",
        body=sql.SQL("{} WHERE {}").format(values, condition),
        risky=bool(demand.expression),
        functions=demand.functions,
    )


_ASKING: dict[type[Demand], Callable[[Lookup, Any], Iterator[Question]]] = {
    Becomes: _of_type,
    Bounded: _of_bounds,
    Distinct: _of_duplicates,
    Holds: _of_check,
    Known: _of_orphans,
    NoNull: _of_nulls,
    NoNullInKey: _of_nulls_in_key,
    NoRow: _of_rows,
    NoneInDefault: _of_default,
    OfDomain: _of_domain,
    Validated: _of_constraint,
}
