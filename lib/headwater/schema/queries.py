"""One query for each catalogue, put together from what the server says of its own columns.

Every query gives identity, kind, schema and parent, then the columns that are not left out, then
what lives elsewhere and is read best beside its object: definitions, comments, labels, the order
of columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from headwater.errors import TargetError
from headwater.schema.attached import attached
from headwater.schema.catalog import BUILT_IN
from headwater.schema.column import Column
from headwater.schema.grants import grants
from headwater.schema.identities import PLACES
from headwater.schema.left_out import CATALOGS, COLUMNS, ROWS
from headwater.schema.place import Place
from headwater.schema.rendering import rendered
from headwater.schema.scope import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The query of a catalogue; `columns` names what it gives after the first four."""

    catalog: str
    columns: tuple[str, ...]
    text: sql.Composed


def queries(columns: Sequence[Column], shape: Shape, used: Collection[str]) -> list[Query]:
    """Give the query of each catalogue in `used`, and that of what initdb made."""
    its_own = [
        _query(catalog, its_columns, shape)
        for catalog, its_columns in by_catalog(columns).items()
        if catalog in used
    ]
    return [*its_own, _built_in(columns, shape)]


def in_use(columns: Iterable[Column]) -> sql.Composed:
    """Give a query that names the catalogues in which there are rows that initdb did not make.

    Most of them hold none, and asking for the greatest oid is an index look-up.
    """
    return sql.SQL(" union all ").join(
        _has_rows(catalog, its_columns)
        for catalog, its_columns in by_catalog(columns).items()
        if is_read(catalog, its_columns)
    )


def _has_rows(catalog: str, columns: Sequence[Column]) -> sql.Composable:
    first = _first_key(catalog, columns)
    if catalog in _BY_ROWS or catalog in _ALSO or first.type not in ("oid", "regproc"):
        return sql.SQL("select {}").format(sql.Literal(catalog))
    return _HAS_ROWS.format(
        catalog=sql.Literal(catalog),
        table=sql.Identifier(catalog),
        first=sql.Identifier(first.name),
    )


def _first_key(catalog: str, columns: Sequence[Column]) -> Column:
    """Give the column that a row is known by: its oid, or the first of its declared key."""
    keys = [c for c in columns if c.name == "oid"] or [c for c in columns if c.key]
    if not keys:
        raise TargetError(
            f"this PostgreSQL has a catalogue that Headwater cannot read: {catalog}",
            detail="its rows have neither an oid nor a primary key",
            hint="report it: a snapshot without that catalogue would miss drift",
        )
    return keys[0]


_HAS_ROWS: Final = sql.SQL(
    "select {catalog} where (select max({first}::oid) from {table}) >= 16384"
)


def by_catalog(columns: Iterable[Column]) -> dict[str, list[Column]]:
    """Group columns by catalogue, in the order given."""
    found: dict[str, list[Column]] = {}
    for column in columns:
        found.setdefault(column.catalog, []).append(column)
    return found


def is_read(catalog: str, columns: Sequence[Column]) -> bool:
    """Say whether a catalogue is a part of a database's schema, and readable.

    A catalogue that all databases share is one only when its rows say which database they are of.
    """
    shared = columns[0].shared and catalog != "pg_database"
    ours = not shared or any(column.refers_to == "pg_database" for column in columns)
    return ours and catalog not in CATALOGS and all(c.readable for c in columns if c.key)


def _query(catalog: str, columns: Sequence[Column], shape: Shape) -> Query:
    place = PLACES.get(catalog) or _unknown_place(catalog, columns)
    has_oid = any(column.name == "oid" for column in columns)
    items = [
        *_own_columns(catalog, columns, place),
        *attached(catalog, shape, has_oid=has_oid),
    ]
    text = _select(
        place,
        catalog,
        [expression for _, expression in items],
        _conditions(catalog, columns, place, shape),
    )
    return Query(catalog=catalog, columns=tuple(name for name, _ in items), text=text)


def _select(
    place: Place,
    catalog: str,
    expressions: Iterable[sql.Composable],
    conditions: Iterable[sql.Composable],
) -> sql.Composed:
    return sql.SQL(
        "select k.kind || ' ' || k.name, k.kind, {schema}, {parent}{values} from {table} t {joins}"
        " cross join lateral (select {kind} as kind, {name} as name) k where {conditions}"
    ).format(
        schema=place.schema,
        parent=place.parent,
        values=sql.SQL("").join(sql.SQL(", ") + each for each in expressions),
        table=sql.Identifier(catalog),
        joins=place.joins,
        kind=place.kind,
        name=place.name,
        conditions=sql.SQL(" and ").join(conditions),
    )


_GRANTOR: Final = {"pg_attribute": "r.relowner", "pg_default_acl": "t.defaclrole"}


def _own_columns(
    catalog: str, columns: Sequence[Column], place: Place
) -> Iterator[tuple[str, sql.Composable]]:
    """Give every column that is neither left out nor told by the identity."""
    owner = _owner_of(catalog, columns)
    relation = _relation_of(columns, place)
    for column in columns:
        told = column.name == "oid" or column.name in place.covers
        if column.readable and not told and column.path not in COLUMNS:
            yield column.name, rendered(column, owner, relation)


def _owner_of(catalog: str, columns: Sequence[Column]) -> str | None:
    """Give the column with the role whose grants are not worth saying who made them."""
    owners = (f"t.{column.name}" for column in columns if column.name.endswith("owner"))
    return _GRANTOR.get(catalog) or next(owners, None)


def _relation_of(columns: Sequence[Column], place: Place) -> str | None:
    """Give the column with the relation that expressions are about, where there is one."""
    if columns[0].catalog == "pg_class":
        return "oid"
    relations = [column.name for column in columns if column.refers_to == "pg_class"]
    return place.relation or (relations[0] if len(relations) == 1 else None)


def _unknown_place(catalog: str, columns: Sequence[Column]) -> Place:
    """Name the rows of a catalogue that this version of Headwater has never seen."""
    if any(column.name == "oid" for column in columns):
        return Place(
            kind=sql.SQL("i.type"),
            name=sql.SQL("i.identity"),
            schema=sql.SQL("i.schema"),
            joins=sql.SQL("cross join lateral pg_identify_object({}::regclass, t.oid, 0) i").format(
                sql.Literal(catalog)
            ),
            covers=(),
        )
    keys = [column for column in columns if column.key]
    return Place(
        kind=sql.Literal(catalog),
        name=sql.SQL(" || ', ' || ").join(
            sql.SQL("coalesce({}, '-')").format(rendered(key, None, None)) for key in keys
        ),
        covers=tuple(key.name for key in keys),
    )


# --- which rows -------------------------------------------------------------------------------

_ALSO: Final = {
    "pg_extension": sql.SQL("true"),
    "pg_largeobject_metadata": sql.SQL("true"),
    "pg_namespace": sql.SQL("t.nspname = 'public'"),
}
"""Below 16384: what initdb made and files may change or drop nevertheless; large objects have the
number that they are given."""

_BY_ROWS: Final = frozenset({"pg_database", "pg_db_role_setting"})


def _conditions(
    catalog: str, columns: Sequence[Column], place: Place, shape: Shape
) -> Iterator[sql.Composable]:
    """Give what a row has to meet to be a part of the schema; see left_out."""
    if catalog in ROWS:
        yield sql.SQL(ROWS[catalog][1])
    if catalog in _BY_ROWS:
        return
    if any(column.name == "oid" for column in columns):
        yield from _user_made(sql.SQL("t.oid"), catalog, catalog, shape)
    elif place.relation is None:
        yield from _parts(columns, shape)
    if place.relation:
        yield from _user_made(sql.SQL("r.oid"), "pg_class", catalog, shape)
        yield sql.SQL("r.relnamespace <> all (%(hidden)s::oid[])")
    for column in columns:
        if column.refers_to == "pg_namespace" and column.name in place.covers:
            yield sql.SQL("{} <> all (%(hidden)s::oid[])").format(sql.Identifier("t", column.name))
    if catalog == "pg_namespace":
        yield sql.SQL("t.oid <> all (%(hidden)s::oid[])")


def _parts(columns: Sequence[Column], shape: Shape) -> Iterator[sql.Composable]:
    """Bind a row without an oid to the object that the first column of its key names."""
    key = _first_key(columns[0].catalog, columns)
    if key.refers_to:
        whose = sql.SQL("{}::oid").format(sql.Identifier("t", key.name))
        yield from _user_made(whose, key.refers_to, key.catalog, shape)


def _user_made(
    oid: sql.Composable, catalog: str, also: str, shape: Shape
) -> Iterator[sql.Composable]:
    """Keep what was made after initdb, and is not outside (a member, bookkeeping)."""
    made = sql.SQL("{} >= 16384").format(oid)
    yield sql.SQL("({} or {})").format(made, _ALSO[also]) if also in _ALSO else made
    if catalog in shape.outside:
        yield _not_outside(oid, catalog)


def _not_outside(oid: sql.Composable, catalog: str) -> sql.Composed:
    return sql.SQL("{} <> all ({}::oid[])").format(oid, sql.Placeholder(f"outside_{catalog}"))


# --- what initdb made -------------------------------------------------------------------------

_GRANTED_SINCE: Final = sql.SQL(
    "t.{acl} is not null and {oid} < 16384 and not exists (select from pg_init_privs i"
    " where i.objoid = {oid} and i.classoid = {catalog}::regclass and i.objsubid = {number}"
    " and i.initprivs @> t.{acl} and i.initprivs <@ t.{acl})"
)


_NEVER_BUILT_IN: Final = frozenset(
    {
        "pg_default_acl",
        "pg_foreign_data_wrapper",
        "pg_foreign_server",
        "pg_largeobject_metadata",
    }
)
"""initdb makes none of these: leaving them out spares the planner their joins."""


def _built_in(columns: Iterable[Column], shape: Shape) -> Query:
    """Give the query for grants on built-in objects that are not those which initdb made."""
    parts = [
        _granted_since(catalog, its_columns, column, shape)
        for catalog, its_columns in by_catalog(columns).items()
        if catalog in PLACES and catalog not in _NEVER_BUILT_IN and is_read(catalog, its_columns)
        for column in its_columns
        if column.type == "aclitem[]" and column.readable and column.path not in COLUMNS
    ]
    return Query(catalog=BUILT_IN, columns=("grants",), text=sql.SQL(" union all ").join(parts))


def _granted_since(
    catalog: str, columns: Sequence[Column], acl: Column, shape: Shape
) -> sql.Composed:
    place = PLACES[catalog]
    of_column = catalog == "pg_attribute"
    oid = sql.Identifier("t", "attrelid" if of_column else "oid")
    home = "pg_class" if of_column else catalog
    conditions = [
        _GRANTED_SINCE.format(
            acl=sql.Identifier(acl.name),
            oid=oid,
            catalog=sql.Literal(home),
            number=sql.SQL("t.attnum" if of_column else "0"),
        )
    ]
    if home in shape.outside:
        conditions.append(_not_outside(oid, home))
    if catalog in _ALSO:
        conditions.append(sql.SQL("not ({})").format(_ALSO[catalog]))
    # initdb makes that schema when it has already noted what was granted.
    conditions.append(sql.SQL("{} is distinct from 'information_schema'").format(place.schema))
    return _select(
        place, catalog, [grants(acl, _owner_of(catalog, columns), built_in=True)], conditions
    )
