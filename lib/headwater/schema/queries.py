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

from headwater.schema.identities import PLACES, Place
from headwater.schema.left_out import CATALOGS, COLUMNS, ROWS
from headwater.schema.rendering import Column, rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What scope.sql found: which rows are the schema of this database, and what is noted on them.

    Lists of oids stay the text that the server wrote. `commented`, `labelled` and `bound` (to an
    extension) name the catalogues whose objects have such notes; the others need no join.
    """

    database: str
    owner: str
    hidden_schemas: str
    outside: dict[str, str]
    commented: frozenset[str]
    labelled: frozenset[str]
    bound: frozenset[str]

    @property
    def parameters(self) -> dict[str, str]:
        """Give the values of the placeholders that the queries use."""
        lists = {f"outside_{catalog}": oids for catalog, oids in self.outside.items()}
        return {
            "database": self.database,
            "owner": self.owner,
            "hidden": self.hidden_schemas,
            **lists,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The query of a catalogue; `columns` names what it gives after the first four."""

    catalog: str
    columns: tuple[str, ...]
    text: sql.Composed


def queries(columns: Iterable[Column], scope: Scope, used: Collection[str]) -> list[Query]:
    """Give the query of each catalogue in `used`."""
    return [
        _query(catalog, its_columns, scope)
        for catalog, its_columns in by_catalog(columns).items()
        if catalog in used
    ]


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
    by_oid = [c for c in columns if c.name == "oid"] or [c for c in columns if c.key][:1]
    always = catalog in _BY_ROWS or catalog in _ALSO or by_oid[0].type not in ("oid", "regproc")
    if always:
        return sql.SQL("select {}").format(sql.Literal(catalog))
    return _HAS_ROWS.format(
        catalog=sql.Literal(catalog),
        table=sql.Identifier(catalog),
        first=sql.Identifier(by_oid[0].name),
    )


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


def _query(catalog: str, columns: Sequence[Column], scope: Scope) -> Query:
    place = PLACES.get(catalog) or _unknown_place(catalog, columns)
    items = [*_own_columns(catalog, columns, place), *_extras(catalog, scope)]
    text = sql.SQL("select k.kind || ' ' || k.name, k.kind, {}, {}{} from {} t {} {} where {}").format(
        place.schema,
        place.parent,
        sql.SQL("").join(sql.SQL(", ") + item for _, item in items),
        sql.Identifier(catalog),
        place.joins,
        sql.SQL("cross join lateral (select {} as kind, {} as name) k").format(
            place.kind, place.name
        ),
        sql.SQL(" and ").join(_conditions(catalog, columns, place, scope)),
    )
    return Query(catalog=catalog, columns=tuple(name for name, _ in items), text=text)


_GRANTOR: Final = {"pg_attribute": "r.relowner", "pg_default_acl": "t.defaclrole"}


def _own_columns(
    catalog: str, columns: Sequence[Column], place: Place
) -> Iterator[tuple[str, sql.Composable]]:
    """Give every column that is neither left out nor told by the identity."""
    owners = (f"t.{column.name}" for column in columns if column.name.endswith("owner"))
    owner = _GRANTOR.get(catalog) or next(owners, None)
    relation = _relation_of(columns, place)
    for column in columns:
        told = column.name == "oid" or column.name in place.covers
        if column.readable and not told and column.path not in COLUMNS:
            yield column.name, rendered(column, owner, relation)


def _relation_of(columns: Sequence[Column], place: Place) -> str | None:
    """Give the column with the relation that expressions are about, where there is one."""
    if columns[0].catalog == "pg_class":
        return "oid"
    if columns[0].catalog in ("pg_constraint", "pg_index"):
        return "conrelid" if columns[0].catalog == "pg_constraint" else "indrelid"
    return place.relation


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
    "pg_namespace": sql.SQL("t.nspname = 'public'"),
}
"""What initdb made and files may change or drop nevertheless."""

_BY_ROWS: Final = frozenset({"pg_database", "pg_db_role_setting"})


def _conditions(
    catalog: str, columns: Sequence[Column], place: Place, scope: Scope
) -> Iterator[sql.Composable]:
    """Give what a row has to meet to be a part of the schema; see left_out."""
    if catalog in ROWS:
        yield sql.SQL(ROWS[catalog][1])
    if catalog in _BY_ROWS:
        return
    if any(column.name == "oid" for column in columns):
        yield from _user_made(sql.SQL("t.oid"), catalog, catalog, scope)
    elif place.relation is None:
        yield from _parts(columns, scope)
    if place.relation:
        yield from _user_made(sql.SQL("r.oid"), "pg_class", catalog, scope)
        yield sql.SQL("r.relnamespace <> all (%(hidden)s::oid[])")
    for column in columns:
        if column.refers_to == "pg_namespace" and column.name in place.covers:
            yield sql.SQL("{} <> all (%(hidden)s::oid[])").format(sql.Identifier("t", column.name))
    if catalog == "pg_namespace":
        yield sql.SQL("t.oid <> all (%(hidden)s::oid[])")


def _parts(columns: Sequence[Column], scope: Scope) -> Iterator[sql.Composable]:
    """Bind a row without an oid to the object that the first column of its key names."""
    key = next(column for column in columns if column.key)
    if key.refers_to:
        whose = sql.SQL("{}::oid").format(sql.Identifier("t", key.name))
        yield from _user_made(whose, key.refers_to, key.catalog, scope)


def _user_made(
    oid: sql.Composable, catalog: str, also: str, scope: Scope
) -> Iterator[sql.Composable]:
    """Keep what was made after initdb, and is not outside (a member, bookkeeping)."""
    made = sql.SQL("{} >= 16384").format(oid)
    yield sql.SQL("({} or {})").format(made, _ALSO[also]) if also in _ALSO else made
    if catalog in scope.outside:
        yield sql.SQL("{} <> all ({}::oid[])").format(oid, sql.Placeholder(f"outside_{catalog}"))


# --- what lives elsewhere ---------------------------------------------------------------------

_LIVE_COLUMNS: Final = sql.SQL(
    "case when t.relkind in ('r', 'p', 'v', 'm', 'f', 'c') then array_to_string(array("
    "select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid"
    " and a.attnum > 0 and not a.attisdropped order by a.attnum), ', ') end"
)
_SWITCHED_OFF: Final = sql.SQL(
    "case when t.contype = 'f' or t.condeferrable then (select string_agg("
    "g.tgfoid::regproc::text || ' on ' || g.tgrelid::regclass::text || ' '"
    " || case g.tgenabled when 'D' then 'disabled' when 'R' then 'on a replica only'"
    " when 'A' then 'always' else g.tgenabled::text end, ', '"
    " order by g.tgfoid::regproc::text collate \"C\", g.tgrelid::regclass::text collate \"C\")"
    " from pg_trigger g where g.tgconstraint = t.oid and g.tgisinternal and g.tgenabled <> 'O')"
    " end"
)
_EXTRAS: Final[dict[str, dict[str, sql.SQL]]] = {
    "pg_class": {
        "column order": _LIVE_COLUMNS,
        "toast options": sql.SQL(
            "case when t.reltoastrelid <> 0 then (select array_to_string(array("
            "select x from unnest(o.reloptions) x order by x collate \"C\"), ', ')"
            " from pg_class o where o.oid = t.reltoastrelid and o.reloptions is not null) end"
        ),
    },
    "pg_collation": {
        "version is current": sql.SQL(
            "(t.collversion is not distinct from pg_collation_actual_version(t.oid))::text"
        ),
    },
    "pg_constraint": {
        "definition": sql.SQL("case when t.contype <> 'n' then pg_get_constraintdef(t.oid) end"),
        "its triggers": _SWITCHED_OFF,
    },
    "pg_index": {"definition": sql.SQL("pg_get_indexdef(t.indexrelid)")},
    "pg_inherits": {
        "position": sql.SQL(
            "(row_number() over (partition by t.inhrelid order by t.inhseqno))::text"
        ),
    },
    "pg_partitioned_table": {"partition key": sql.SQL("pg_get_partkeydef(t.partrelid)")},
    "pg_rewrite": {
        "definition": sql.SQL(
            "case when t.rulename = '_RETURN' then pg_get_viewdef(t.ev_class)"
            " else pg_get_ruledef(t.oid) end"
        ),
    },
    "pg_statistic_ext": {"definition": sql.SQL("pg_get_statisticsobjdef(t.oid)")},
    "pg_trigger": {"definition": sql.SQL("pg_get_triggerdef(t.oid)")},
    "pg_type": {
        "order of values": sql.SQL(
            "case when t.typtype = 'e' then array_to_string(array(select quote_literal(e.enumlabel)"
            " from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder), ', ') end"
        ),
    },
}

_COMMENT: Final = sql.SQL(
    "(select d.description from pg_description d where d.classoid = {catalog}::regclass"
    " and d.objoid = {oid} and d.objsubid = {number})"
)
_LABEL: Final = sql.SQL(
    "(select string_agg(l.provider || ': ' || l.label, '; ' order by l.provider collate \"C\")"
    " from pg_seclabel l where l.classoid = {catalog}::regclass"
    " and l.objoid = {oid} and l.objsubid = {number})"
)
_BOUND: Final = sql.SQL(
    "(select string_agg(e.extname, ', ' order by e.extname collate \"C\") from pg_depend d"
    " join pg_extension e on e.oid = d.refobjid where d.classid = {catalog}::regclass"
    " and d.objid = {oid} and d.objsubid = {number} and d.deptype = 'x')"
)
_DATABASE_NOTES: Final = {
    # Lines of our own, such as the mark `headwater: disposable`, are not the user's comment.
    "comment": sql.SQL(
        "(select nullif(array_to_string(array(select w.line from regexp_split_to_table("
        "d.description, E'\\n') with ordinality w (line, nth) where not w.line ^@ 'headwater:'"
        " order by w.nth), E'\\n'), '') from pg_shdescription d"
        " where d.classoid = 'pg_database'::regclass and d.objoid = t.oid)"
    ),
    "security label": sql.SQL(
        "(select string_agg(l.provider || ': ' || l.label, '; ' order by l.provider collate \"C\")"
        " from pg_shseclabel l where l.classoid = 'pg_database'::regclass and l.objoid = t.oid)"
    ),
}


def _extras(catalog: str, scope: Scope) -> Iterator[tuple[str, sql.Composable]]:
    """Give the definitions and notes of a catalogue's objects."""
    yield from _EXTRAS.get(catalog, {}).items()
    if catalog == "pg_database":
        yield from _DATABASE_NOTES.items()
        return
    oid, number = ("attrelid", "t.attnum") if catalog == "pg_attribute" else ("oid", "0")
    home = "pg_class" if catalog == "pg_attribute" else catalog
    notes = (
        ("comment", _COMMENT, scope.commented),
        ("security label", _LABEL, scope.labelled),
        ("depends on extension", _BOUND, scope.bound),
    )
    for name, text, noted in notes:
        if catalog in noted:
            yield (
                name,
                text.format(
                    catalog=sql.Literal(home), oid=sql.Identifier("t", oid), number=sql.SQL(number)
                ),
            )
