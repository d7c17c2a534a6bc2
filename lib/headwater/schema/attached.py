"""What lives in other catalogues and is read beside its object: definitions, notes, order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from headwater.schema.scope import Shape

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
    ' order by g.tgfoid::regproc::text collate "C", g.tgrelid::regclass::text collate "C")'
    " from pg_trigger g where g.tgconstraint = t.oid and g.tgisinternal and g.tgenabled <> 'O')"
    " end"
)
_BESIDE: Final[dict[str, dict[str, sql.SQL]]] = {
    "pg_class": {
        "column order": _LIVE_COLUMNS,
        "comment on the row type": sql.SQL(
            "case when t.reltype <> 0 and t.relkind <> 'c' then (select d.description"
            " from pg_description d where d.classoid = 'pg_type'::regclass"
            " and d.objoid = t.reltype and d.objsubid = 0) end"
        ),
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


_NOTED_AS: Final = {"pg_attribute": "pg_class", "pg_largeobject_metadata": "pg_largeobject"}
"""Catalogue -> the one under which comments and labels of its objects are filed."""


def attached(catalog: str, shape: Shape, *, has_oid: bool) -> Iterator[tuple[str, sql.Composable]]:
    """Give the definitions and notes of a catalogue's objects: notes are on what has an oid."""
    yield from _BESIDE.get(catalog, {}).items()
    if catalog == "pg_database":
        yield from _DATABASE_NOTES.items()
        return
    if not has_oid and catalog != "pg_attribute":
        return
    oid, number = ("attrelid", "t.attnum") if catalog == "pg_attribute" else ("oid", "0")
    home = _NOTED_AS.get(catalog, catalog)
    notes = (
        ("comment", _COMMENT, shape.commented),
        ("security label", _LABEL, shape.labelled),
        ("depends on extension", _BOUND, shape.bound),
    )
    for name, text, noted in notes:
        yield (
            name,
            text.format(
                catalog=sql.Literal(home), oid=sql.Identifier("t", oid), number=sql.SQL(number)
            )
            if catalog in noted
            else sql.SQL("null::text"),
        )
