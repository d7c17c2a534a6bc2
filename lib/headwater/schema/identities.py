"""What an object is called, for each catalogue: SQL that turns a row into an identity.

A catalogue that does not stand here, because a newer PostgreSQL brought it, gets the server's own
words (`pg_identify_object`): longer and slower, but nothing is missed.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

from headwater.schema.place import (
    IN_RELATION,
    RELATION,
    RELATION_IDENTITY,
    SCHEMA,
    Place,
    by_oid,
    in_database,
    in_schema,
    kind_of,
    member,
    more_of,
    name_of,
    part,
    text,
)

PLACES: Final[dict[str, Place]] = {
    "pg_aggregate": Place(
        kind=text("aggregate"),
        name=sql.SQL("t.aggfnoid::regprocedure::text"),
        covers=("aggfnoid",),
        schema=SCHEMA,
        joins=sql.SQL(
            "join pg_proc p on p.oid = t.aggfnoid join pg_namespace n on n.oid = p.pronamespace"
        ),
    ),
    "pg_am": in_database("access method", "amname"),
    "pg_amop": member("operator", "amop", "amopstrategy"),
    "pg_amproc": member("support function", "amproc", "amprocnum"),
    "pg_attrdef": Place(
        kind=text("column"),
        name=sql.SQL("{} || '.' || quote_ident(a.attname)").format(RELATION),
        covers=("adrelid", "adnum"),
        schema=SCHEMA,
        parent=RELATION_IDENTITY,
        joins=sql.SQL("{} join pg_attribute a on a.attrelid = r.oid and a.attnum = t.adnum").format(
            IN_RELATION.format(sql.Identifier("adrelid"))
        ),
        relation="adrelid",
    ),
    "pg_attribute": Place(
        kind=text("column"),
        name=sql.SQL(
            "{} || '.' || case when r.relkind in ('i', 'I') then t.attnum::text"
            " else quote_ident(t.attname) end"
        ).format(RELATION),
        # In an index attname is what the column was called when the index was made.
        covers=("attrelid", "attname"),
        schema=SCHEMA,
        parent=RELATION_IDENTITY,
        joins=IN_RELATION.format(sql.Identifier("attrelid")),
        relation="attrelid",
    ),
    "pg_cast": Place(
        kind=text("cast"),
        name=sql.SQL(
            "'(' || format_type(t.castsource, null) || ' as '"
            " || format_type(t.casttarget, null) || ')'"
        ),
        covers=("castsource", "casttarget"),
    ),
    "pg_class": Place(
        kind=kind_of("t"),
        name=name_of("t", "relname"),
        covers=("relname", "relnamespace"),
        schema=SCHEMA,
        # An index is a part of its table, an owned sequence of its column.
        parent=sql.SQL(
            "case when i.indrelid is not null then {} || ' ' || {}"
            " when t.relkind = 'S' then (select 'column ' || d.refobjid::regclass::text || '.'"
            " || quote_ident(a.attname) from pg_depend d join pg_attribute a"
            " on a.attrelid = d.refobjid and a.attnum = d.refobjsubid"
            " where d.classid = 'pg_class'::regclass and d.objid = t.oid and d.objsubid = 0"
            " and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0"
            " and d.deptype in ('a', 'i')) end"
        ).format(kind_of("r"), RELATION),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.relnamespace"
            " left join pg_index i on i.indexrelid = t.oid"
            " left join pg_class r on r.oid = i.indrelid"
        ),
    ),
    "pg_collation": in_schema(
        "collation",
        "coll",
        suffix=" || case when t.collencoding in (-1, pg_char_to_encoding(getdatabaseencoding()))"
        " then '' else ' for ' || pg_encoding_to_char(t.collencoding) end",
    ),
    "pg_constraint": Place(
        # Since PostgreSQL 18 "not null" is a constraint too; it is a part of its column.
        kind=sql.SQL("case when t.contype = 'n' then 'not-null constraint' else 'constraint' end"),
        name=sql.SQL(
            "quote_ident(t.conname) || ' on ' || case when t.conrelid <> 0 then {}"
            " else 'domain ' || format_type(t.contypid, null) end"
        ).format(RELATION),
        covers=("conname", "connamespace", "conrelid", "contypid"),
        schema=SCHEMA,
        parent=sql.SQL(
            "case when t.conrelid = 0 then 'domain ' || format_type(t.contypid, null)"
            " when t.contype = 'n' then 'column ' || {} || '.' || quote_ident(a.attname)"
            " else {} end"
        ).format(RELATION, RELATION_IDENTITY),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.connamespace"
            " left join pg_class r on r.oid = t.conrelid"
            " left join pg_attribute a on t.contype = 'n' and a.attrelid = t.conrelid"
            " and a.attnum = t.conkey[1]"
        ),
    ),
    "pg_conversion": in_schema("conversion", "con"),
    "pg_database": Place(kind=text("database"), name=sql.SQL("'properties'"), covers=()),
    "pg_db_role_setting": Place(
        kind=text("setting"),
        name=sql.SQL(
            "split_part(s.setting, '=', 1) || case when t.setrole = 0 then ' of the database'"
            " else ' of role ' || t.setrole::regrole::text || ' in the database' end"
        ),
        covers=("setdatabase", "setrole"),
        joins=sql.SQL("cross join unnest(t.setconfig) as s (setting)"),
    ),
    "pg_default_acl": Place(
        kind=text("default privileges"),
        name=sql.SQL(
            "'of ' || case t.defaclrole when %(owner)s::oid then '<owner>'"
            " else t.defaclrole::regrole::text end"
            " || coalesce(' in schema ' || quote_ident(n.nspname), '') || ' on '"
            " || case t.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences'"
            " when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas'"
            " when 'L' then 'large objects' else t.defaclobjtype::text end"
        ),
        covers=("defaclrole", "defaclnamespace", "defaclobjtype"),
        schema=SCHEMA,
        joins=sql.SQL("left join pg_namespace n on n.oid = t.defaclnamespace"),
    ),
    "pg_enum": Place(
        kind=text("value"),
        name=sql.SQL("quote_literal(t.enumlabel) || ' of type ' || format_type(t.enumtypid, null)"),
        covers=("enumlabel", "enumtypid"),
        schema=SCHEMA,
        parent=sql.SQL("'type ' || format_type(t.enumtypid, null)"),
        joins=sql.SQL(
            "join pg_type y on y.oid = t.enumtypid join pg_namespace n on n.oid = y.typnamespace"
        ),
    ),
    "pg_event_trigger": in_database("event trigger", "evtname"),
    "pg_extension": in_database("extension", "extname"),
    "pg_foreign_data_wrapper": in_database("foreign-data wrapper", "fdwname"),
    "pg_foreign_server": in_database("server", "srvname"),
    "pg_foreign_table": more_of("ftrelid"),
    "pg_index": Place(
        kind=text("index"),
        name=RELATION,
        covers=("indexrelid", "indrelid"),
        schema=SCHEMA,
        parent=sql.SQL("{} || ' ' || {}").format(kind_of("p"), name_of("p", "relname")),
        joins=sql.SQL("{} join pg_class p on p.oid = t.indrelid").format(
            IN_RELATION.format(sql.Identifier("indexrelid"))
        ),
        relation="indexrelid",
    ),
    "pg_inherits": Place(
        kind=text("inheritance"),
        name=sql.SQL("'of ' || {} || ' from ' || t.inhparent::regclass::text").format(RELATION),
        covers=("inhrelid", "inhparent"),
        schema=SCHEMA,
        parent=RELATION_IDENTITY,
        joins=IN_RELATION.format(sql.Identifier("inhrelid")),
        relation="inhrelid",
    ),
    "pg_language": in_database("language", "lanname"),
    "pg_largeobject_metadata": Place(
        kind=text("large object"), name=sql.SQL("t.oid::text"), covers=()
    ),
    "pg_namespace": Place(
        kind=text("schema"),
        name=sql.SQL("quote_ident(t.nspname)"),
        covers=("nspname",),
        schema=sql.SQL("t.nspname::text"),
    ),
    "pg_opclass": in_schema(
        "operator class",
        "opc",
        suffix=" || ' using ' || quote_ident(m.amname)",
        joins="join pg_am m on m.oid = t.opcmethod",
    ),
    "pg_operator": by_oid(
        text("operator"), "regoperator", "oprnamespace", "oprname", "oprleft", "oprright"
    ),
    "pg_opfamily": in_schema(
        "operator family",
        "opf",
        suffix=" || ' using ' || quote_ident(m.amname)",
        joins="join pg_am m on m.oid = t.opfmethod",
    ),
    "pg_partitioned_table": more_of("partrelid"),
    "pg_policy": part("policy", "polname", "polrelid"),
    "pg_proc": by_oid(
        sql.SQL(
            "case t.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end"
        ),
        "regprocedure",
        "pronamespace",
        "proname",
        "proargtypes",
        # The constructors of a range are a part of its type.
        parent=sql.SQL(
            "case when t.prosrc ~ '^(multi)?range_constructor' then (select 'type '"
            " || d.refobjid::regtype::text from pg_depend d where d.classid = 'pg_proc'::regclass"
            " and d.objid = t.oid and d.refclassid = 'pg_type'::regclass and d.deptype = 'i') end"
        ),
    ),
    "pg_publication": in_database("publication", "pubname"),
    "pg_publication_namespace": Place(
        kind=text("schema"),
        name=sql.SQL("quote_ident(n.nspname) || ' in publication ' || quote_ident(p.pubname)"),
        covers=("pnpubid", "pnnspid"),
        schema=SCHEMA,
        parent=sql.SQL("'publication ' || quote_ident(p.pubname)"),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.pnnspid join pg_publication p on p.oid = t.pnpubid"
        ),
    ),
    "pg_publication_rel": Place(
        kind=text("table"),
        name=sql.SQL("{} || ' in publication ' || quote_ident(p.pubname)").format(RELATION),
        covers=("prpubid", "prrelid"),
        schema=SCHEMA,
        parent=sql.SQL("'publication ' || quote_ident(p.pubname)"),
        joins=sql.SQL("{} join pg_publication p on p.oid = t.prpubid").format(
            IN_RELATION.format(sql.Identifier("prrelid"))
        ),
        relation="prrelid",
    ),
    "pg_range": Place(
        kind=text("type"),
        name=sql.SQL("format_type(t.rngtypid, null)"),
        covers=("rngtypid",),
        schema=SCHEMA,
        joins=sql.SQL(
            "join pg_type y on y.oid = t.rngtypid join pg_namespace n on n.oid = y.typnamespace"
        ),
    ),
    "pg_rewrite": Place(
        # The rule _RETURN is the view itself.
        kind=sql.SQL("case when t.rulename = '_RETURN' then {} else 'rule' end").format(
            kind_of("r")
        ),
        name=sql.SQL(
            "case when t.rulename = '_RETURN' then '' else quote_ident(t.rulename) || ' on ' end"
            " || {}"
        ).format(RELATION),
        covers=("rulename", "ev_class"),
        schema=SCHEMA,
        parent=sql.SQL("case when t.rulename <> '_RETURN' then {} end").format(RELATION_IDENTITY),
        joins=IN_RELATION.format(sql.Identifier("ev_class")),
        relation="ev_class",
    ),
    "pg_sequence": more_of("seqrelid"),
    "pg_statistic_ext": Place(
        kind=text("statistics"),
        name=name_of("t", "stxname", "s"),
        covers=("stxname", "stxnamespace", "stxrelid"),
        schema=sql.SQL("s.nspname::text"),
        parent=RELATION_IDENTITY,
        joins=sql.SQL("join pg_namespace s on s.oid = t.stxnamespace {}").format(
            IN_RELATION.format(sql.Identifier("stxrelid"))
        ),
        relation="stxrelid",
    ),
    "pg_subscription": in_database("subscription", "subname"),
    "pg_transform": Place(
        kind=text("transform"),
        name=sql.SQL(
            "'for ' || format_type(t.trftype, null) || ' language ' || quote_ident(l.lanname)"
        ),
        covers=("trftype", "trflang"),
        joins=sql.SQL("join pg_language l on l.oid = t.trflang"),
    ),
    "pg_trigger": part("trigger", "tgname", "tgrelid"),
    "pg_ts_config": in_schema("text search configuration", "cfg"),
    "pg_ts_config_map": Place(
        kind=text("mapping"),
        name=sql.SQL(
            "t.mapseqno || ' of token type ' || t.maptokentype || ' in text search configuration '"
            " || quote_ident(n.nspname) || '.' || quote_ident(c.cfgname)"
        ),
        covers=("mapcfg", "maptokentype", "mapseqno"),
        schema=SCHEMA,
        parent=sql.SQL(
            "'text search configuration '"
            " || quote_ident(n.nspname) || '.' || quote_ident(c.cfgname)"
        ),
        joins=sql.SQL(
            "join pg_ts_config c on c.oid = t.mapcfg join pg_namespace n on n.oid = c.cfgnamespace"
        ),
    ),
    "pg_ts_dict": in_schema("text search dictionary", "dict"),
    "pg_ts_parser": in_schema("text search parser", "prs"),
    "pg_ts_template": in_schema("text search template", "tmpl"),
    "pg_type": Place(
        kind=sql.SQL("case t.typtype when 'd' then 'domain' else 'type' end"),
        name=name_of("t", "typname"),
        covers=("typname", "typnamespace", "typrelid"),
        schema=SCHEMA,
        parent=sql.SQL(
            "case when t.typtype = 'm' then 'type ' || format_type(g.rngtypid, null)"
            " when c.relkind <> 'c' then {} || ' ' || {} end"
        ).format(kind_of("c"), name_of("c", "relname")),
        joins=sql.SQL(
            "join pg_namespace n on n.oid = t.typnamespace"
            " left join pg_class c on c.oid = t.typrelid"
            " left join pg_range g on g.rngmultitypid = t.oid and t.typtype = 'm'"
        ),
    ),
    "pg_user_mapping": Place(
        kind=text("user mapping"),
        name=sql.SQL(
            "'for ' || case when t.umuser = 0 then 'PUBLIC' else t.umuser::regrole::text end"
            " || ' on server ' || quote_ident(s.srvname)"
        ),
        covers=("umuser", "umserver"),
        parent=sql.SQL("'server ' || quote_ident(s.srvname)"),
        joins=sql.SQL("join pg_foreign_server s on s.oid = t.umserver"),
    ),
}
