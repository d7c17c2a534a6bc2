"""How a column of a catalogue becomes stable text: chosen by its type and what it refers to.

Oids become names, column numbers become column names, expression trees what the server writes
for them, grants readable lists. A column with a type that has no rendering is an error: silence
would be drift that nobody sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg import sql

from headwater.errors import TargetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a catalogue as the server declares it (see catalogs.sql)."""

    catalog: str
    shared: bool
    name: str
    type: str
    refers_to: str | None
    column_of: str | None
    key: bool
    readable: bool

    @property
    def path(self) -> str:
        """Give `catalogue.column`."""
        return f"{self.catalog}.{self.name}"


def rendered(column: Column, owner: str | None, relation: str | None) -> sql.Composable:
    """Give the SQL that turns a column of the row `t` into text, or null when it says nothing.

    `owner` is the column with the owner, for grants; `relation` the one with the relation that
    expressions are about. Raises `TargetError` for a type without a rendering.
    """
    value = sql.Identifier("t", column.name)
    if column.path in _SPECIAL:
        return _SPECIAL[column.path].format(value=value)
    if column.column_of:
        return _column_names(column, value)
    if column.refers_to:
        return _reference(column, value)
    if column.type == "aclitem[]":
        return _grants(column, value, owner)
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
    "array_to_string(array(select x from unnest({value}) x order by x collate \"C\"), ', ')"
)
_EXPRESSION: Final = sql.SQL("pg_get_expr({value}, {relation})")
_HASHED: Final = "encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

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

_OF_COLUMNS: Final = (
    "array_to_string(array(select quote_ident(a.attname) from unnest({value}) with ordinality"
    " k (num, nth) join pg_attribute a on a.attrelid = RELATION and a.attnum = k.num"
    " order by k.nth), ', ')"
)
_NULL_AT_DEFAULT: Final = sql.SQL("nullif({value}, -1)::text")

_SPECIAL: Final[dict[str, sql.SQL]] = {
    # -1 up to 16, null since 17, is the default
    "pg_attribute.attstattarget": _NULL_AT_DEFAULT,
    "pg_statistic_ext.stxstattarget": _NULL_AT_DEFAULT,
    "pg_attribute.atttypid": sql.SQL("format_type({value}, t.atttypmod)"),
    "pg_type.typbasetype": sql.SQL("format_type(nullif({value}, 0), t.typtypmod)"),
    # Sets: their order is the order in which they were given.
    "pg_attribute.attfdwoptions": _SORTED,
    "pg_attribute.attoptions": _SORTED,
    "pg_class.reloptions": _SORTED,
    "pg_event_trigger.evttags": _SORTED,
    "pg_foreign_data_wrapper.fdwoptions": _SORTED,
    "pg_foreign_server.srvoptions": _SORTED,
    "pg_foreign_table.ftoptions": _SORTED,
    "pg_proc.proconfig": _SORTED,
    "pg_subscription.subpublications": _SORTED,
    # Secrets: a change is seen, the text never.
    "pg_subscription.subconninfo": sql.SQL(_HASHED.replace("{text}", "{value}")),
    "pg_user_mapping.umoptions": sql.SQL(_HASHED.replace("{text}", "{value}::text")),
    # Pending until the first contact with the publisher, then enabled.
    "pg_subscription.subtwophasestate": sql.SQL("nullif({value}, 'd')::text"),
    "pg_db_role_setting.setconfig": sql.SQL("substr(s.setting, strpos(s.setting, '=') + 1)"),
    # Column numbers that are not declared as such.
    "pg_constraint.confdelsetcols": sql.SQL(_OF_COLUMNS.replace("RELATION", "t.conrelid")),
    "pg_publication_rel.prattrs": sql.SQL(_OF_COLUMNS.replace("RELATION", "t.prrelid")),
    # Flags of each key, not columns.
    "pg_index.indoption": _TEXT,
    "pg_proc.prosqlbody": sql.SQL("pg_get_function_sqlbody(t.oid)"),
    # The text of an expression, kept beside its tree and never renamed with what it names.
    "pg_type.typdefault": sql.SQL("case when t.typdefaultbin is null then {value} end"),
}

# --- references -------------------------------------------------------------------------------

_REFERENCE: Final[dict[str, sql.SQL]] = {
    "pg_am": sql.SQL("(select amname::text from pg_am where oid = {value})"),
    "pg_authid": sql.SQL("case {value} when 0 then 'PUBLIC' else {value}::regrole::text end"),
    "pg_class": sql.SQL("nullif({value}, 0)::regclass::text"),
    "pg_collation": sql.SQL("nullif({value}, 0)::regcollation::text"),
    "pg_constraint": sql.SQL("(select conname::text from pg_constraint where oid = {value})"),
    "pg_language": sql.SQL("(select lanname::text from pg_language where oid = {value})"),
    "pg_namespace": sql.SQL("nullif({value}, 0)::regnamespace::text"),
    "pg_operator": sql.SQL("nullif({value}, 0)::regoperator::text"),
    "pg_opclass": sql.SQL(
        "(select n.nspname || '.' || o.opcname from pg_opclass o"
        " join pg_namespace n on n.oid = o.opcnamespace where o.oid = {value})"
    ),
    "pg_proc": sql.SQL("nullif({value}, 0)::regprocedure::text"),
    "pg_ts_config": sql.SQL("nullif({value}, 0)::regconfig::text"),
    "pg_ts_dict": sql.SQL("nullif({value}, 0)::regdictionary::text"),
    "pg_type": sql.SQL("format_type(nullif({value}, 0), null)"),
}
"""Catalogue -> how its oids become names. The pinned search path qualifies what is not built in."""

_ANY_REFERENCE: Final = sql.SQL(
    "(select i.identity from pg_identify_object({catalog}::regclass, {value}, 0) i"
    " where {value} <> 0)"
)
_OWNER: Final = sql.SQL(
    "case {value} when %(owner)s::oid then '<owner>' else {value}::regrole::text end"
)
_EACH: Final = sql.SQL(
    "array_to_string(array(select {one} from unnest({value}) with ordinality x (id, nth)"
    " order by {order}), ', ')"
)
_ARRAYS: Final = ("oid[]", "oidvector")
_SETS: Final = frozenset({"pg_policy.polroles"})


def _reference(column: Column, value: sql.Composable) -> sql.Composable:
    """Render an oid, or a list of them, as what they name."""
    if column.type in ("oid", "regproc"):
        return _single_reference(column, value)
    if column.type not in _ARRAYS:
        raise _unknown(column)
    each = sql.Identifier("x", "id")
    return _EACH.format(
        one=_single_reference(column, each),
        value=value,
        order=sql.SQL("1" if column.path in _SETS else "x.nth"),
    )


def _single_reference(column: Column, value: sql.Composable) -> sql.Composable:
    assert column.refers_to is not None
    if column.refers_to == "pg_authid" and column.name.endswith("owner"):
        return _OWNER.format(value=value)
    if column.refers_to in _REFERENCE:
        return _REFERENCE[column.refers_to].format(value=value)
    return _ANY_REFERENCE.format(catalog=sql.Literal(column.refers_to), value=value)


_COLUMN_LIST: Final = sql.SQL(
    "array_to_string(array(select coalesce(quote_ident(a.attname), '(expression)')"
    " from unnest({value}) with ordinality k (num, nth) left join pg_attribute a"
    " on a.attrelid = {relation} and a.attnum = k.num order by k.nth), ', ')"
)


def _column_names(column: Column, value: sql.Composable) -> sql.Composable:
    """Render a list of column numbers as names."""
    if column.type not in ("int2vector", "smallint[]"):
        raise _unknown(column)
    assert column.column_of is not None
    return _COLUMN_LIST.format(value=value, relation=sql.Identifier("t", column.column_of))


# --- grants -----------------------------------------------------------------------------------

_DEFAULT_OF: Final[dict[str, sql.SQL]] = {
    "pg_attribute": sql.SQL("'c'"),
    "pg_class": sql.SQL("(case t.relkind when 'S' then 's' else 'r' end)::\"char\""),
    "pg_foreign_data_wrapper": sql.SQL("'F'"),
    "pg_foreign_server": sql.SQL("'S'"),
    "pg_language": sql.SQL("'l'"),
    "pg_largeobject_metadata": sql.SQL("'L'"),
    "pg_namespace": sql.SQL("'n'"),
    "pg_proc": sql.SQL("'f'"),
    "pg_type": sql.SQL("'T'"),
}
"""Catalogue -> the letter under which acldefault() knows its objects."""

_GRANTS: Final = sql.SQL(
    "case when {unset} then null else coalesce((select string_agg(x.who || ': ' || x.what, '; '"
    ' order by x.who collate "C") from (select'
    " case g.grantee when 0 then 'PUBLIC' when %(owner)s::oid then '<owner>'"
    " else g.grantee::regrole::text end"
    " || case when g.grantor = {owner} then '' else ' by ' || case g.grantor"
    " when %(owner)s::oid then '<owner>' else g.grantor::regrole::text end end as who,"
    " string_agg(g.privilege_type || case when g.is_grantable then ' with grant option'"
    " else '' end, ', ' order by g.privilege_type collate \"C\") as what"
    " from aclexplode({value}) g group by g.grantee, g.grantor) x), 'nobody') end"
)
_AT_DEFAULT: Final = sql.SQL(
    "{value} is null or ({value} @> acldefault({letter}, {owner})"
    " and {value} <@ acldefault({letter}, {owner}))"
)


def _grants(column: Column, value: sql.Composable, owner: str | None) -> sql.Composable:
    """Render an access list as sorted grants; the default, spelt out or not, says nothing.

    The grants of a column are made by the owner of its relation, those of default privileges by
    their role.
    """
    holder = sql.Identifier(*owner.split(".")) if owner else sql.SQL("0::oid")
    letter = _DEFAULT_OF.get(column.catalog)
    unset = (
        _AT_DEFAULT.format(value=value, letter=letter, owner=holder)
        if letter
        else sql.SQL("{value} is null").format(value=value)
    )
    return _GRANTS.format(unset=unset, value=value, owner=holder)
