"""How an access list becomes text: who may do what, sorted, and nothing where it is the default."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from headwater.schema.column import Column

_DEFAULT_OF: Final[dict[str, sql.Composable]] = {
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
    " case g.grantee when 0 then 'PUBLIC' when {itself} then {its_name}"
    " else g.grantee::regrole::text end"
    " || case when g.grantor = {owner} then '' else ' by ' || case g.grantor"
    " when {itself} then {its_name} else g.grantor::regrole::text end end as who,"
    " coalesce(nullif({privileges}, {all}), 'ALL') as what"
    " from aclexplode({value}) g group by g.grantee, g.grantor) x), 'nobody') end"
)
_AT_DEFAULT: Final = sql.SQL(
    "{value} is null or ({value} @> acldefault({letter}, {owner})"
    " and {value} <@ acldefault({letter}, {owner}))"
)
_PRIVILEGES: Final = sql.SQL(
    "string_agg(g.privilege_type || case when g.is_grantable then ' with grant option'"
    " else '' end, ', ' order by g.privilege_type collate \"C\")"
)
# What an owner has to begin with; "all" has grown over the versions (MAINTAIN came with 17).
_ALL: Final = sql.SQL(
    "(select {privileges} from aclexplode(acldefault({letter}, 10)) g where g.grantee = 10)"
)
_OWNER_ITSELF: Final = {"itself": sql.SQL("%(owner)s::oid"), "its_name": sql.SQL("'<owner>'")}
# Role 10 is whoever ran initdb: it owns what is built in.
_INITDB_ITSELF: Final = {"itself": sql.SQL("10"), "its_name": sql.SQL("'<initdb>'")}


def grants(column: Column, owner: str | None, *, built_in: bool = False) -> sql.Composable:
    """Render an access list as sorted grants; the default, spelt out or not, says nothing.

    Who granted is said only when it is not the `owner`: of a column, the owner of its relation;
    of default privileges, their role.
    """
    value = sql.Identifier("t", column.name)
    holder = sql.Identifier(*owner.split(".")) if owner else sql.SQL("0::oid")
    letter = _DEFAULT_OF.get(column.catalog)
    unset = sql.SQL("{} is null").format(value)
    if letter and not built_in:
        unset = _AT_DEFAULT.format(value=value, letter=letter, owner=holder)
    return _GRANTS.format(
        unset=unset,
        value=value,
        owner=holder,
        privileges=_PRIVILEGES,
        all=_all_privileges(column.catalog),
        **(_INITDB_ITSELF if built_in else _OWNER_ITSELF),
    )


def _all_privileges(catalog: str) -> sql.Composable:
    """Give the privileges of an owner as they are listed, found once a query."""
    letter = _DEFAULT_OF.get(catalog, sql.NULL)
    if catalog != "pg_class":
        return _ALL.format(privileges=_PRIVILEGES, letter=letter)
    of_table, of_sequence = (
        _ALL.format(privileges=_PRIVILEGES, letter=sql.SQL(each)) for each in ("'r'", "'s'")
    )
    return sql.SQL("case t.relkind when 'S' then {} else {} end").format(of_sequence, of_table)
