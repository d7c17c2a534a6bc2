"""How a column of a catalogue becomes stable text: chosen by its type and what it refers to.

Oids become names, column numbers become column names, expression trees what the server writes
for them, grants readable lists. A column with a type that has no rendering is an error: silence
would be drift that nobody sees.
"""

from __future__ import annotations

from typing import Final

from psycopg import sql

from headwater.errors import TargetError
from headwater.schema.column import Column
from headwater.schema.grants import grants


def rendered(column: Column, owner: str | None, relation: str | None) -> sql.Composable:
    """Give the SQL that turns a column of the row `t` into text, or null when it says nothing.

    `owner` is the column with the owner, for grants; `relation` the one with the relation that
    expressions are about. Raises `TargetError` for a type without a rendering.
    """
    value = sql.Identifier("t", column.name)
    if column.path in _SPECIAL:
        return _SPECIAL[column.path].format(value=value)
    if column.column_of or column.path in _UNDECLARED:
        return _column_names(column, value, column.column_of or _UNDECLARED[column.path])
    if column.refers_to:
        return _reference(column, value)
    if column.type == "aclitem[]":
        return grants(column, owner)
    if column.type == "pg_node_tree":
        return _EXPRESSION.format(
            value=value, relation=sql.Identifier("t", relation) if relation else sql.SQL("0::oid")
        )
    if column.type in _PLAIN:
        return _PLAIN[column.type].format(value=value)
    raise _unknown(column)


def _unknown(column: Column) -> TargetError:
    return TargetError(
        f"this PostgreSQL has a catalogue column that Headwater cannot read: {column.path}",
        detail=f"no rendering for the type {column.type}"
        + (f" that refers to {column.refers_to}" if column.refers_to else ""),
        hint="report it: a snapshot without that column would miss drift",
    )


# --- values without references ----------------------------------------------------------------

_TEXT: Final = sql.SQL("{value}::text")
_SORTED: Final = sql.SQL(
    "case when {value} is not null then array_to_string("
    "array(select x from unnest({value}) x order by x collate \"C\"), ', ') end"
)
_EXPRESSION: Final = sql.SQL("pg_get_expr({value}, {relation})")
_HASHED: Final = sql.SQL("left(encode(sha256(convert_to({value}, 'UTF8')), 'hex'), 16)")

_PLAIN: Final[dict[str, sql.SQL]] = {
    '"char"': _TEXT,
    '"char"[]': _TEXT,
    "bigint": _TEXT,
    "boolean": _TEXT,
    "integer": _TEXT,
    "name": _TEXT,
    "real": _TEXT,
    "smallint": _TEXT,
    "text": sql.SQL("{value}"),
    "text[]": _TEXT,
    "bytea": sql.SQL("encode({value}, 'escape')"),
}

# --- columns that need a word of their own ----------------------------------------------------

_NULL_AT_DEFAULT: Final = sql.SQL("nullif({value}, -1)::text")

_SPECIAL: Final[dict[str, sql.SQL]] = {
    # -1 up to 16, null since 17, is the default
    "pg_attribute.attstattarget": _NULL_AT_DEFAULT,
    "pg_statistic_ext.stxstattarget": _NULL_AT_DEFAULT,
    # An index has the owner of its table.
    "pg_class.relowner": sql.SQL(
        "case when t.relkind not in ('i', 'I') then case {value} when %(owner)s::oid"
        " then '<owner>' else {value}::regrole::text end end"
    ),
    # An expression without columns is written much faster without its relation.
    "pg_attrdef.adbin": sql.SQL(
        "pg_get_expr({value}, case when a.attgenerated = '' then 0 else t.adrelid end)"
    ),
    # The constructors that come with a range type do not belong to who made it.
    "pg_proc.proowner": sql.SQL(
        "case when {value} = 10 and t.prosrc ~ '^(multi)?range_constructor' then '<initdb>'"
        " when {value} = %(owner)s::oid then '<owner>' else {value}::regrole::text end"
    ),
    "pg_attribute.atttypid": sql.SQL("format_type({value}, t.atttypmod)"),
    "pg_type.typbasetype": sql.SQL("format_type(nullif({value}, 0), t.typtypmod)"),
    # Sets: their order is the order in which they were given.
    "pg_attribute.attfdwoptions": _SORTED,
    # (15.20 and its sisters stamp each definition of a column with a number: no two are alike.)
    "pg_attribute.attoptions": sql.SQL(
        "nullif(array_to_string(array(select x from unnest({value}) x"
        " where x not like 'pg\\_attver=%%' order by x collate \"C\"), ', '), '')"
    ),
    "pg_class.reloptions": _SORTED,
    "pg_event_trigger.evttags": _SORTED,
    "pg_foreign_data_wrapper.fdwoptions": _SORTED,
    "pg_foreign_server.srvoptions": _SORTED,
    "pg_foreign_table.ftoptions": _SORTED,
    "pg_proc.proconfig": _SORTED,
    "pg_subscription.subpublications": _SORTED,
    # Secrets: a change is seen, the text never.
    "pg_subscription.subconninfo": _HASHED,
    "pg_user_mapping.umoptions": sql.SQL(
        "left(encode(sha256(convert_to(array_to_string(array(select x from unnest({value}) x"
        " order by x collate \"C\"), ', '), 'UTF8')), 'hex'), 16)"
    ),
    # Pending until the first contact with the publisher, then enabled.
    "pg_subscription.subtwophasestate": sql.SQL("nullif({value}, 'd')::text"),
    "pg_db_role_setting.setconfig": sql.SQL("substr(s.setting, strpos(s.setting, '=') + 1)"),
    # libc's collations are noted for the encoding of the database.
    "pg_collation.collencoding": sql.SQL(
        "nullif({value}, pg_char_to_encoding(getdatabaseencoding()))::text"
    ),
    # Of a key it only says whether the partition was attached or made as one.
    "pg_constraint.connoinherit": sql.SQL(
        "case when t.contype in ('c', 'n') then {value}::text end"
    ),
    # Flags of each key, not columns.
    "pg_index.indoption": _TEXT,
    "pg_proc.prosqlbody": sql.SQL("pg_get_function_sqlbody(t.oid)"),
    # The text of an expression, kept beside its tree and never renamed with what it names.
    "pg_type.typdefault": sql.SQL("case when t.typdefaultbin is null then {value} end"),
}

_UNDECLARED: Final = {"pg_publication_rel.prattrs": "prrelid"}
"""Column numbers that the server does not declare as such -> whose they are."""

# --- references -------------------------------------------------------------------------------

_REG: Final = {
    "pg_class": "regclass",
    "pg_collation": "regcollation",
    "pg_namespace": "regnamespace",
    "pg_operator": "regoperator",
    "pg_proc": "regprocedure",
    "pg_ts_config": "regconfig",
    "pg_ts_dict": "regdictionary",
    "pg_type": "regtype",
}
"""Catalogue -> the type that writes its oids as names; the search path qualifies what is not built
in."""

_LOOKED_UP: Final[dict[str, sql.SQL]] = {
    "pg_am": sql.SQL("(select amname::text from pg_am where oid = {value})"),
    "pg_authid": sql.SQL("case {value} when 0 then 'PUBLIC' else {value}::regrole::text end"),
    "pg_constraint": sql.SQL("(select conname::text from pg_constraint where oid = {value})"),
    "pg_language": sql.SQL("(select lanname::text from pg_language where oid = {value})"),
    "pg_opclass": sql.SQL(
        "(select opcnamespace::regnamespace || '.' || opcname from pg_opclass where oid = {value})"
    ),
}
_ANY_REFERENCE: Final = sql.SQL(
    "(select i.identity from pg_identify_object({catalog}::regclass, {value}, 0) i"
    " where {value} <> 0)"
)
_OWNER: Final = sql.SQL(
    "case {value} when %(owner)s::oid then '<owner>' else {value}::regrole::text end"
)
# Faster than a join with ordinality by a factor of ten; a scalar sub-select keeps the order.
_EACH: Final = sql.SQL(
    "case when {value} is not null then array_to_string(array(select {one}"
    " from (select unnest({value}) as id) x{order}), ', ') end"
)
_SETS: Final = frozenset({"pg_policy.polroles"})


def _reference(column: Column, value: sql.Composable) -> sql.Composable:
    """Render an oid, or a list of them, as what they name."""
    if column.type in ("oid", "regproc"):
        return _single_reference(column, value)
    if column.type not in ("oid[]", "oidvector"):
        raise _unknown(column)
    if column.refers_to in _REG:
        alias = sql.SQL(_REG[column.refers_to])
        return sql.SQL("{}::oid[]::{}[]::text").format(value, alias)
    return _EACH.format(
        one=_single_reference(column, sql.Identifier("x", "id")),
        value=value,
        order=sql.SQL(" order by 1" if column.path in _SETS else ""),
    )


def _single_reference(column: Column, value: sql.Composable) -> sql.Composable:
    assert column.refers_to is not None
    if column.refers_to == "pg_authid" and column.name.endswith("owner"):
        return _OWNER.format(value=value)
    if column.refers_to in _REG:
        return sql.SQL("nullif({}, 0)::{}::text").format(value, sql.SQL(_REG[column.refers_to]))
    if column.refers_to in _LOOKED_UP:
        return _LOOKED_UP[column.refers_to].format(value=value)
    return _ANY_REFERENCE.format(catalog=sql.Literal(column.refers_to), value=value)


_COLUMN_LIST: Final = sql.SQL(
    "case when {value} is not null then array_to_string(array(select coalesce("
    "(select quote_ident(a.attname) from pg_attribute a"
    " where a.attrelid = {relation} and a.attnum = x.num), '(expression)')"
    " from (select unnest({value}) as num) x), ', ') end"
)


def _column_names(column: Column, value: sql.Composable, relation: str) -> sql.Composable:
    """Render a list of column numbers as names."""
    if column.type not in ("int2vector", "smallint[]"):
        raise _unknown(column)
    return _COLUMN_LIST.format(value=value, relation=sql.Identifier("t", relation))
