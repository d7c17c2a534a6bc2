"""What an object is called, for each catalogue: SQL that turns a row into an identity.

A row is `t`; its relation, when it is a part of one, is `r` in the schema `n`. A catalogue that
does not stand here, because a newer PostgreSQL brought it, gets the server's own words
(`pg_identify_object`): longer and slower, but nothing is missed.
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
_AND: Final = sql.SQL(" || ")


def _text(value: str) -> sql.Composable:
    return sql.Literal(value)


def _kind_of(relation: str) -> sql.Composable:
    return _KIND.format(relation=sql.Identifier(relation))


def _name_of(row: str, column: str, namespace: str = "n") -> sql.Composable:
    return _NAME.format(
        namespace=sql.Identifier(namespace), row=sql.Identifier(row), column=sql.Identifier(column)
    )


_RELATION: Final = _name_of("r", "relname")
_RELATION_IDENTITY: Final = sql.SQL("{} || ' ' || {}").format(_kind_of("r"), _RELATION)
_IN_RELATION: Final = sql.SQL(
    "join pg_class r on r.oid = t.{} join pg_namespace n on n.oid = r.relnamespace"
)
_SCHEMA: Final = sql.SQL("n.nspname::text")


def _part(kind: str, name: str, relation: str, *covers: str) -> Place:
    """Name a part of a relation: `trigger x on kb.t`."""
    return Place(
        kind=_text(kind),
        name=sql.SQL("quote_ident(t.{}) || ' on ' || {}").format(sql.Identifier(name), _RELATION),
        covers=(name, relation, *covers),
        schema=_SCHEMA,
        parent=_RELATION_IDENTITY,
        joins=_IN_RELATION.format(sql.Identifier(relation)),
        relation=relation,
    )


def _more_of(relation: str, *covers: str) -> Place:
    """Name a row that says more about a relation that has a row in pg_class."""
    return Place(
        kind=_kind_of("r"),
        name=_RELATION,
        covers=(relation, *covers),
        schema=_SCHEMA,
        joins=_IN_RELATION.format(sql.Identifier(relation)),
        relation=relation,
    )


def _in_schema(kind: str, prefix: str, *, suffix: str = "", joins: str = "") -> Place:
    """Name an object of a schema by its own name: `collation kb.german`."""
    name, namespace = f"{prefix}name", f"{prefix}namespace"
    return Place(
        kind=_text(kind),
        name=sql.SQL("{}{}").format(_name_of("t", name), sql.SQL(suffix)),
        covers=(name, namespace),
        schema=_SCHEMA,
        joins=sql.SQL("join pg_namespace n on n.oid = t.{} {}").format(
            sql.Identifier(namespace), sql.SQL(joins)
        ),
    )


def _global(kind: str, name: str) -> Place:
    """Name an object that belongs to the database as a whole: `extension vector`."""
    return Place(
        kind=_text(kind),
        name=sql.SQL("quote_ident(t.{})").format(sql.Identifier(name)),
        covers=(name,),
    )


_OF_FAMILY: Final = sql.SQL(
    "quote_ident(n.nspname) || '.' || quote_ident(f.opfname) || ' using ' || quote_ident(m.amname)"
)


def _member(kind: str, prefix: str, number: str) -> Place:
    """Name a member of an operator family by its number and its two types."""
    family = f"{prefix}family"
    return Place(
        kind=_text(kind),
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
        schema=_SCHEMA,
        parent=sql.SQL("'operator family ' || {}").format(_OF_FAMILY),
        joins=sql.SQL(
            "join pg_opfamily f on f.oid = t.{} join pg_namespace n on n.oid = f.opfnamespace"
            " join pg_am m on m.oid = f.opfmethod"
        ).format(sql.Identifier(family)),
    )


def _by_oid(kind: sql.Composable, alias: str, namespace: str, *covers: str) -> Place:
    """Name what the server can spell from an oid alone: functions and operators."""
    return Place(
        kind=kind,
        name=sql.SQL("t.oid::{}::text").format(sql.SQL(alias)),
        covers=(namespace, *covers),
        schema=_SCHEMA,
        joins=sql.SQL("join pg_namespace n on n.oid = t.{}").format(sql.Identifier(namespace)),
    )


PLACES: Final[dict[str, Place]] = {
    "pg_aggregate": Place(
        kind=_text("aggregate"),
        name=sql.SQL("t.aggfnoid::regprocedure::text"),
        covers=("aggfnoid",),
        schema=_SCHEMA,
        joins=sql.SQL(
            "join pg_proc p on p.oid = t.aggfnoid join pg_namespace n on n.oid = p.pronamespace"
        ),
    ),
    "pg_am": _global("access method", "amname"),
    "pg_amop": _member("operator", "amop", "amopstrategy"),
    "pg_amproc": _member("support function", "amproc", "amprocnum"),
    "pg_attrdef": Place(
        kind=_text("column"),
        name=sql.SQL("{} || '.' || quote_ident(a.attname)").format(_RELATION),
        covers=("adrelid", "adnum"),
        schema=_SCHEMA,
        parent=_RELATION_IDENTITY,
        joins=sql.SQL("{} join pg_attribute a on a.attrelid = r.oid and a.attnum = t.adnum").format(
            _IN_RELATION.format(sql.Identifier("adrelid"))
        ),
        relation="adrelid",
    ),
    "pg_attribute": Place(
        kind=_text("column"),
        name=sql.SQL(
            "{} || '.' || case when r.relkind in ('i', 'I') then t.attnum::text"
            " else quote_ident(t.attname) end"
        ).format(_RELATION),
        covers=("attrelid", "attname"),
        schema=_SCHEMA,
        parent=_RELATION_IDENTITY,
        joins=_IN_RELATION.format(sql.Identifier("attrelid")),
        relation="attrelid",
    ),
    "pg_cast": Place(
        kind=_text("cast"),
        name=sql.SQL(
            "'(' || format_type(t.castsource, null) || ' as '"
            " || format_type(t.casttarget, null) || ')'"
        ),
        covers=("castsource", "casttarget"),
    ),
    "pg_class": Place(
        kind=_kind_of("t"),
        name=_name_of("t", "relname"),
        covers=("relname", "relnamespace"),
        schema=_SCHEMA,
        # An index is a part of its table, an owned sequence of its column.
        parent=sql.SQL(
            "case when i.indrelid is not null then {} || ' ' || {}"
            " when t.relkind = 'S' then (select 'column ' || d.refobjid::regclass::text || '.'"
            " || quote_ident(a.attname) from pg_depend d join pg_attribute a"
            " on a.attrelid = d.refobjid and a.attnum = d.refobjsubid"
            " where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.objsubid = 0"
            " and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0"
            " and d.deptype in ('a', 'i')) end"
        ).format(_kind_of("r"), _RELATION),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.relnamespace"
            " left join pg_index i on i.indexrelid = t.oid"
            " left join pg_class r on r.oid = i.indrelid"
        ),
    ),
    "pg_collation": _in_schema(
        "collation",
        "coll",
        suffix=" || case when t.collencoding in (-1, pg_char_to_encoding(getdatabaseencoding()))"
        " then '' else ' for ' || pg_encoding_to_char(t.collencoding) end",
    ),
    "pg_constraint": Place(
        # Since PostgreSQL 18 "not null" is a constraint too; it is a part of its column.
        kind=sql.SQL(
            "case when t.contype = 'n' then 'not-null constraint' else 'constraint' end"
        ),
        name=sql.SQL(
            "quote_ident(t.conname) || ' on ' || case when t.conrelid <> 0 then {}"
            " else 'domain ' || format_type(t.contypid, null) end"
        ).format(_RELATION),
        covers=("conname", "connamespace", "conrelid", "contypid"),
        schema=_SCHEMA,
        parent=sql.SQL(
            "case when t.conrelid = 0 then 'domain ' || format_type(t.contypid, null)"
            " when t.contype = 'n' then 'column ' || {} || '.' || quote_ident(a.attname)"
            " else {} end"
        ).format(_RELATION, _RELATION_IDENTITY),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.connamespace"
            " left join pg_class r on r.oid = t.conrelid"
            " left join pg_attribute a on t.contype = 'n' and a.attrelid = t.conrelid"
            " and a.attnum = t.conkey[1]"
        ),
    ),
    "pg_conversion": _in_schema("conversion", "con"),
    "pg_database": Place(kind=_text("database"), name=sql.SQL("'properties'"), covers=()),
    "pg_db_role_setting": Place(
        kind=_text("setting"),
        name=sql.SQL(
            "split_part(s.setting, '=', 1) || case when t.setrole = 0 then ' of the database'"
            " else ' of role ' || t.setrole::regrole::text || ' in the database' end"
        ),
        covers=("setdatabase", "setrole"),
        joins=sql.SQL("cross join unnest(t.setconfig) as s (setting)"),
    ),
    "pg_default_acl": Place(
        kind=_text("default privileges"),
        name=sql.SQL(
            "'of ' || case t.defaclrole when %(owner)s::oid then '<owner>'"
            " else t.defaclrole::regrole::text end"
            " || coalesce(' in schema ' || quote_ident(n.nspname), '') || ' on '"
            " || case t.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences'"
            " when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas'"
            " when 'L' then 'large objects' else t.defaclobjtype::text end"
        ),
        covers=("defaclrole", "defaclnamespace", "defaclobjtype"),
        schema=_SCHEMA,
        joins=sql.SQL("left join pg_namespace n on n.oid = t.defaclnamespace"),
    ),
    "pg_enum": Place(
        kind=_text("value"),
        name=sql.SQL("quote_literal(t.enumlabel) || ' of type ' || format_type(t.enumtypid, null)"),
        covers=("enumlabel", "enumtypid"),
        schema=_SCHEMA,
        parent=sql.SQL("'type ' || format_type(t.enumtypid, null)"),
        joins=sql.SQL(
            "join pg_type y on y.oid = t.enumtypid join pg_namespace n on n.oid = y.typnamespace"
        ),
    ),
    "pg_event_trigger": _global("event trigger", "evtname"),
    "pg_extension": _global("extension", "extname"),
    "pg_foreign_data_wrapper": _global("foreign-data wrapper", "fdwname"),
    "pg_foreign_server": _global("server", "srvname"),
    "pg_foreign_table": _more_of("ftrelid"),
    "pg_index": Place(
        kind=_text("index"),
        name=_RELATION,
        covers=("indexrelid", "indrelid"),
        schema=_SCHEMA,
        parent=sql.SQL("{} || ' ' || {}").format(_kind_of("p"), _name_of("p", "relname")),
        joins=sql.SQL("{} join pg_class p on p.oid = t.indrelid").format(
            _IN_RELATION.format(sql.Identifier("indexrelid"))
        ),
        relation="indexrelid",
    ),
    "pg_inherits": Place(
        kind=_text("inheritance"),
        name=sql.SQL("'of ' || {} || ' from ' || t.inhparent::regclass::text").format(_RELATION),
        covers=("inhrelid", "inhparent"),
        schema=_SCHEMA,
        parent=_RELATION_IDENTITY,
        joins=_IN_RELATION.format(sql.Identifier("inhrelid")),
        relation="inhrelid",
    ),
    "pg_language": _global("language", "lanname"),
    "pg_largeobject_metadata": Place(
        kind=_text("large object"), name=sql.SQL("t.oid::text"), covers=()
    ),
    "pg_namespace": Place(
        kind=_text("schema"),
        name=sql.SQL("quote_ident(t.nspname)"),
        covers=("nspname",),
        schema=sql.SQL("t.nspname::text"),
    ),
    "pg_opclass": _in_schema(
        "operator class",
        "opc",
        suffix=" || ' using ' || quote_ident(m.amname)",
        joins="join pg_am m on m.oid = t.opcmethod",
    ),
    "pg_operator": _by_oid(
        _text("operator"), "regoperator", "oprnamespace", "oprname", "oprleft", "oprright"
    ),
    "pg_opfamily": _in_schema(
        "operator family",
        "opf",
        suffix=" || ' using ' || quote_ident(m.amname)",
        joins="join pg_am m on m.oid = t.opfmethod",
    ),
    "pg_partitioned_table": _more_of("partrelid"),
    "pg_policy": _part("policy", "polname", "polrelid"),
    "pg_proc": _by_oid(
        sql.SQL(
            "case t.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end"
        ),
        "regprocedure",
        "pronamespace",
        "proname",
        "proargtypes",
    ),
    "pg_publication": _global("publication", "pubname"),
    "pg_publication_namespace": Place(
        kind=_text("schema"),
        name=sql.SQL("quote_ident(n.nspname) || ' in publication ' || quote_ident(p.pubname)"),
        covers=("pnpubid", "pnnspid"),
        schema=_SCHEMA,
        parent=sql.SQL("'publication ' || quote_ident(p.pubname)"),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.pnnspid join pg_publication p on p.oid = t.pnpubid"
        ),
    ),
    "pg_publication_rel": Place(
        kind=_text("table"),
        name=sql.SQL("{} || ' in publication ' || quote_ident(p.pubname)").format(_RELATION),
        covers=("prpubid", "prrelid"),
        schema=_SCHEMA,
        parent=sql.SQL("'publication ' || quote_ident(p.pubname)"),
        joins=sql.SQL("{} join pg_publication p on p.oid = t.prpubid").format(
            _IN_RELATION.format(sql.Identifier("prrelid"))
        ),
        relation="prrelid",
    ),
    "pg_range": Place(
        kind=_text("type"),
        name=sql.SQL("format_type(t.rngtypid, null)"),
        covers=("rngtypid",),
        schema=_SCHEMA,
        joins=sql.SQL(
            "join pg_type y on y.oid = t.rngtypid join pg_namespace n on n.oid = y.typnamespace"
        ),
    ),
    "pg_rewrite": Place(
        # The rule _RETURN is the view itself.
        kind=sql.SQL("case when t.rulename = '_RETURN' then {} else 'rule' end").format(
            _kind_of("r")
        ),
        name=sql.SQL(
            "case when t.rulename = '_RETURN' then '' else quote_ident(t.rulename) || ' on ' end"
            " || {}"
        ).format(_RELATION),
        covers=("rulename", "ev_class"),
        schema=_SCHEMA,
        parent=sql.SQL("case when t.rulename <> '_RETURN' then {} end").format(_RELATION_IDENTITY),
        joins=_IN_RELATION.format(sql.Identifier("ev_class")),
        relation="ev_class",
    ),
    "pg_sequence": _more_of("seqrelid"),
    "pg_statistic_ext": Place(
        kind=_text("statistics"),
        name=_name_of("t", "stxname", "s"),
        covers=("stxname", "stxnamespace", "stxrelid"),
        schema=sql.SQL("s.nspname::text"),
        parent=_RELATION_IDENTITY,
        joins=sql.SQL("join pg_namespace s on s.oid = t.stxnamespace {}").format(
            _IN_RELATION.format(sql.Identifier("stxrelid"))
        ),
        relation="stxrelid",
    ),
    "pg_subscription": _global("subscription", "subname"),
    "pg_transform": Place(
        kind=_text("transform"),
        name=sql.SQL(
            "'for ' || format_type(t.trftype, null) || ' language ' || quote_ident(l.lanname)"
        ),
        covers=("trftype", "trflang"),
        joins=sql.SQL("join pg_language l on l.oid = t.trflang"),
    ),
    "pg_trigger": _part("trigger", "tgname", "tgrelid"),
    "pg_ts_config": _in_schema("text search configuration", "cfg"),
    "pg_ts_config_map": Place(
        kind=_text("mapping"),
        name=sql.SQL(
            "t.mapseqno || ' of token type ' || t.maptokentype || ' in text search configuration '"
            " || quote_ident(n.nspname) || '.' || quote_ident(c.cfgname)"
        ),
        covers=("mapcfg", "maptokentype", "mapseqno"),
        schema=_SCHEMA,
        parent=sql.SQL(
            "'text search configuration ' || quote_ident(n.nspname) || '.' || quote_ident(c.cfgname)"
        ),
        joins=sql.SQL(
            "join pg_ts_config c on c.oid = t.mapcfg join pg_namespace n on n.oid = c.cfgnamespace"
        ),
    ),
    "pg_ts_dict": _in_schema("text search dictionary", "dict"),
    "pg_ts_parser": _in_schema("text search parser", "prs"),
    "pg_ts_template": _in_schema("text search template", "tmpl"),
    "pg_type": Place(
        kind=sql.SQL("case t.typtype when 'd' then 'domain' else 'type' end"),
        name=_name_of("t", "typname"),
        covers=("typname", "typnamespace", "typrelid"),
        schema=_SCHEMA,
        parent=sql.SQL(
            "case when t.typtype = 'm' then 'type ' || format_type(g.rngtypid, null)"
            " when c.relkind <> 'c' then {} || ' ' || {} end"
        ).format(_kind_of("c"), _name_of("c", "relname")),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.typnamespace"
            " left join pg_class c on c.oid = t.typrelid"
            " left join pg_range g on g.rngmultitypid = t.oid and t.typtype = 'm'"
        ),
    ),
    "pg_user_mapping": Place(
        kind=_text("user mapping"),
        name=sql.SQL(
            "'for ' || case when t.umuser = 0 then 'PUBLIC' else t.umuser::regrole::text end"
            " || ' on server ' || quote_ident(s.srvname)"
        ),
        covers=("umuser", "umserver"),
        parent=sql.SQL("'server ' || quote_ident(s.srvname)"),
        joins=sql.SQL("join pg_foreign_server s on s.oid = t.umserver"),
    ),
}
