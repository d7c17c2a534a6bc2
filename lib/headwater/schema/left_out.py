"""Everything that a snapshot leaves out, each with its reason: the one place to look it up.

What does not stand here is read. A catalogue, or a column, that a new PostgreSQL brings is
therefore in the snapshot without a change to Headwater.
"""

from __future__ import annotations

from typing import Final

_STATISTICS: Final = "statistics: gathered from the data"
_STORAGE: Final = "where and how the rows lie on disk"
_HISTORY: Final = "a trace of the past: once set it stays, though its cause is gone"
_SERVER: Final = "belongs to the whole server, not to this database"
_DERIVED: Final = "follows from other columns, and has no command of its own"
_DEFINITION: Final = "stands in the definition that the server writes out, which is read"
_TYPE: Final = "follows from the type of the column"
_ATTACHED: Final = "read as an attribute of the object that it is about"
_DATABASE: Final = "a property of this database on this server: files cannot hold it"

CATALOGS: Final[dict[str, str]] = {
    "pg_auth_members": _SERVER,
    "pg_authid": _SERVER,
    "pg_parameter_acl": _SERVER,
    "pg_replication_origin": _SERVER,
    "pg_shdepend": _DERIVED,
    "pg_tablespace": _SERVER,
    "pg_description": _ATTACHED,
    "pg_shdescription": _ATTACHED,
    "pg_seclabel": _ATTACHED,
    "pg_shseclabel": _ATTACHED,
    "pg_depend": "derived, but for OWNED BY and DEPENDS ON EXTENSION, which are attached",
    "pg_init_privs": "what initdb and CREATE EXTENSION granted: the zero that grants count from",
    "pg_largeobject": "data",
    "pg_statistic": _STATISTICS,
    "pg_statistic_ext_data": _STATISTICS,
    "pg_subscription_rel": "how far replication has come",
}

COLUMNS: Final[dict[str, str]] = {
    "pg_attribute.attalign": _TYPE,
    "pg_attribute.attbyval": _TYPE,
    "pg_attribute.attcacheoff": "a cache, gone in 17",
    "pg_attribute.atthasdef": _DERIVED,
    "pg_attribute.atthasmissing": _HISTORY,
    "pg_attribute.attisdropped": "only live columns are read",
    "pg_attribute.attlen": _TYPE,
    "pg_attribute.attmissingval": _HISTORY,
    "pg_attribute.attndims": "nothing reads it: int[] and int[][] are one type; a dump loses it",
    "pg_attribute.attnum": "has gaps where columns were; the order of the live ones is read",
    "pg_attribute.atttypmod": "written as part of the type",
    "pg_class.relallfrozen": _STATISTICS,
    "pg_class.relallvisible": _STATISTICS,
    "pg_class.relchecks": _DERIVED,
    "pg_class.relfilenode": _STORAGE,
    "pg_class.relfrozenxid": _STORAGE,
    "pg_class.relhasindex": _HISTORY,
    "pg_class.relhasrules": _HISTORY,
    "pg_class.relhassubclass": _HISTORY,
    "pg_class.relhastriggers": _HISTORY,
    "pg_class.relisshared": "true of the catalogues alone",
    "pg_class.relminmxid": _STORAGE,
    "pg_class.relnatts": "counts dropped columns too",
    "pg_class.relpages": _STATISTICS,
    "pg_class.relrewrite": "set only while a table is being rewritten",
    "pg_class.reltablespace": _SERVER,
    "pg_class.reltoastrelid": "the TOAST table: its options are attached to its owner",
    "pg_class.reltuples": _STATISTICS,
    "pg_class.reltype": "the row type: follows from the table",
    "pg_collation.collversion": "of the library on this machine; whether it is current is read",
    "pg_constraint.conbin": _DEFINITION,
    "pg_constraint.conexclop": _DEFINITION,
    "pg_constraint.conffeqop": _DERIVED,
    "pg_constraint.confdelsetcols": _DEFINITION,
    "pg_constraint.confkey": _DEFINITION,
    "pg_constraint.conkey": _DEFINITION,
    "pg_constraint.conpfeqop": _DERIVED,
    "pg_constraint.conppeqop": _DERIVED,
    "pg_database.datacl": _DATABASE,
    "pg_extension.extowner": "who installed it: often a superuser, before the files came",
    "pg_database.datallowconn": _DATABASE,
    "pg_database.datcollate": _DATABASE,
    "pg_database.datcollversion": _DATABASE,
    "pg_database.datconnlimit": _DATABASE,
    "pg_database.datctype": _DATABASE,
    "pg_database.datdba": "written <owner> wherever it owns or grants something",
    "pg_database.datfrozenxid": _STORAGE,
    "pg_database.dathasloginevt": _HISTORY,
    "pg_database.daticulocale": _DATABASE,
    "pg_database.daticurules": _DATABASE,
    "pg_database.datistemplate": _DATABASE,
    "pg_database.datlocale": _DATABASE,
    "pg_database.datlocprovider": _DATABASE,
    "pg_database.datminmxid": _STORAGE,
    "pg_database.datname": _DATABASE,
    "pg_database.dattablespace": _SERVER,
    "pg_database.encoding": _DATABASE,
    "pg_enum.enumsortorder": "a float with a past; the order of the values is read",
    "pg_index.indcheckxmin": _HISTORY,
    "pg_index.indclass": _DEFINITION,
    "pg_index.indexprs": _DEFINITION,
    "pg_index.indkey": _DEFINITION,
    "pg_index.indnatts": _DERIVED,
    "pg_index.indpred": _DEFINITION,
    "pg_inherits.inhseqno": "has gaps where parents went; the order of the others is read",
    "pg_partitioned_table.partattrs": _DEFINITION,
    "pg_partitioned_table.partexprs": _DEFINITION,
    "pg_partitioned_table.partnatts": _DERIVED,
    "pg_proc.pronargdefaults": _DERIVED,
    "pg_proc.pronargs": _DERIVED,
    "pg_rewrite.ev_action": _DEFINITION,
    "pg_rewrite.ev_qual": _DEFINITION,
    "pg_rewrite.ev_type": _DEFINITION,
    "pg_statistic_ext.stxexprs": _DEFINITION,
    "pg_statistic_ext.stxkeys": _DEFINITION,
    "pg_subscription.subdbid": "this database, by its name",
    "pg_subscription.subskiplsn": "how far replication has come",
    "pg_trigger.tgargs": _DEFINITION,
    "pg_trigger.tgattr": _DEFINITION,
    "pg_trigger.tgparentid": "a partition's trigger has its parent's name",
    "pg_trigger.tgqual": _DEFINITION,
    "pg_type.typarray": "the array type: follows from its element, its name from the past",
}
"""`catalogue.column` -> reason. The columns of an identity, and `oid`, are left out by rule."""

ROWS: Final[dict[str, tuple[str, str]]] = {
    "pg_attribute": (
        """dropped columns; system columns and the columns of sequences, unless something was
        granted on them; the columns of indexes, unless they are expressions, which have
        statistics""",
        """not t.attisdropped and (r.relkind not in ('i', 'I', 'S') and t.attnum > 0
        or t.attacl is not null or r.relkind in ('i', 'I') and (select x.indkey[t.attnum - 1] = 0
        from pg_index x where x.indexrelid = t.attrelid))""",
    ),
    "pg_class": (
        "TOAST tables: made and named by the server; their options are attached to the owner",
        "t.relkind <> 't'",
    ),
    "pg_constraint": (
        "constraint triggers, which are read as triggers",
        "t.contype <> 't'",
    ),
    "pg_database": (
        "the other databases of the server",
        "t.oid = %(database)s::oid",
    ),
    "pg_db_role_setting": (
        "settings of other databases, and of roles in every database",
        "t.setdatabase = %(database)s::oid",
    ),
    "pg_subscription": (
        "subscriptions of other databases",
        "t.subdbid = %(database)s::oid",
    ),
    "pg_trigger": (
        """triggers that a constraint made: they follow from it, but for being switched off, which
        is attached to the constraint""",
        "not t.tgisinternal",
    ),
    "pg_type": (
        """row types of tables and array types, which follow, unless something was granted on them;
        a comment on a row type is attached to its table""",
        """(t.typrelid = 0 or t.typacl is not null or c.relkind = 'c')
        and (t.typelem = 0 or t.typsubscript <> 'array_subscript_handler'::regproc)""",
    ),
}
"""Catalogue -> (which rows are left out, the condition that the others meet).

For every catalogue besides: objects made by initdb (oid below 16384, except the schema `public`
and extensions; of the rest only grants are read, and in information_schema nothing), members of
extensions, the bookkeeping tables, and the temporary and TOAST schemas.
"""
