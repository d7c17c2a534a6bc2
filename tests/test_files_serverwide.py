"""Statements that reach beyond their database are found by what they are, and told with advice."""

from __future__ import annotations

import pytest

from headwater.files.grammar import parse
from headwater.files.serverwide import escaping
from headwater.model import Finding

OF_THE_SERVER = {
    "create database a": "CREATE DATABASE",
    "drop database a": "DROP DATABASE",
    "alter database a connection limit 3": "ALTER DATABASE",
    "alter database a set tablespace b": "ALTER DATABASE",
    "alter database a refresh collation version": "ALTER DATABASE",
    "alter database a set work_mem = '1MB'": "ALTER DATABASE … SET",
    "alter database a owner to b": "ALTER DATABASE … OWNER TO",
    "alter database a rename to b": "ALTER DATABASE … RENAME TO",
    "comment on database a is 'b'": "COMMENT ON DATABASE",
    "grant connect on database a to b": "GRANT or REVOKE ON DATABASE",
    "revoke connect on database a from b": "GRANT or REVOKE ON DATABASE",
    "security label on database a is 'b'": "SECURITY LABEL ON DATABASE",
    "create tablespace a location '/b'": "CREATE TABLESPACE",
    "drop tablespace a": "DROP TABLESPACE",
    "alter tablespace a set (seq_page_cost = 1)": "ALTER TABLESPACE",
    "alter tablespace a owner to b": "ALTER TABLESPACE … OWNER TO",
    "alter tablespace a rename to b": "ALTER TABLESPACE … RENAME TO",
    "comment on tablespace a is 'b'": "COMMENT ON TABLESPACE",
    "grant create on tablespace a to b": "GRANT or REVOKE ON TABLESPACE",
    "alter system set work_mem = '1MB'": "ALTER SYSTEM",
    "grant alter system on parameter work_mem to b": "GRANT or REVOKE ON PARAMETER",
    "create subscription a connection '' publication b": "CREATE SUBSCRIPTION",
}
OF_ROLES = {
    "create role a": "CREATE ROLE",
    "create user a": "CREATE ROLE",
    "create group a": "CREATE ROLE",
    "alter role a login": "ALTER ROLE",
    "alter role a set work_mem = '1MB'": "ALTER ROLE … SET",
    "alter role a rename to b": "ALTER ROLE … RENAME TO",
    "comment on role a is 'b'": "COMMENT ON ROLE",
    "security label on role a is 'b'": "SECURITY LABEL ON ROLE",
    "drop role a": "DROP ROLE",
    "grant a to b": "GRANT of a role",
    "revoke a from b": "GRANT of a role",
}
OF_WHO_RUNS_IT = (
    "alter role current_user password 'x'",
    "alter user session_user nologin",
    "alter role postgres nosuperuser",
    "alter role all set work_mem = '1MB'",
    "alter role postgres rename to b",
    "drop role a, postgres",
)
OF_THIS_DATABASE = (
    "create table a (b int)",
    "comment on table a is 'b'",
    "grant select on a to b",
    "grant usage on schema a to b",
    "alter table a owner to b",
    "alter table a rename to b",
    "create schema a authorization b",
    "security label on table a is 'b'",
    "set role a",
)


def found_in(text: str, *, roles: bool) -> tuple[Finding, ...]:
    return escaping(parse(text), "0001_a.sql", roles=roles)


@pytest.mark.parametrize("statement", OF_THE_SERVER)
def test_what_changes_the_server_is_found_wherever_it_would_run(statement: str) -> None:
    for roles in (True, False):
        [finding] = found_in(statement, roles=roles)
        assert finding.message == f"{OF_THE_SERVER[statement]} reaches beyond a scratch database"
        assert finding.hint.startswith("keep it out of the migrations")


@pytest.mark.parametrize("statement", OF_ROLES)
def test_what_changes_roles_is_found_only_where_others_use_them(statement: str) -> None:
    [finding] = found_in(statement, roles=True)
    assert finding.message == f"{OF_ROLES[statement]} reaches beyond a scratch database"
    assert finding.hint.startswith("wrap it in a DO block that looks first")
    assert found_in(statement, roles=False) == ()


@pytest.mark.parametrize("statement", OF_THIS_DATABASE)
def test_what_stays_in_the_database_is_not_found(statement: str) -> None:
    assert found_in(statement, roles=True) == ()


def test_a_block_is_not_looked_into() -> None:
    block = "do $$ begin execute 'create role a'; create role b; end $$"
    assert found_in(block, roles=True) == ()


def test_each_is_told_with_its_place() -> None:
    text = "create table a ();\n\n  create role b;\nalter system set work_mem = '1MB';\n"
    role, system = found_in(text, roles=True)
    assert (role.file, role.line, role.column, role.source) == (
        "0001_a.sql", 3, 3, "  create role b;",
    )  # fmt: skip
    assert (system.line, system.column) == (4, 1)
    assert {role.rule, system.rule} == {"server-wide"}


@pytest.mark.parametrize("text", OF_WHO_RUNS_IT)
def test_what_would_lock_its_owner_out_of_a_private_server_is_never_run(text: str) -> None:
    [finding] = escaping(parse(text), "a.sql", roles=False)
    assert finding.line == 1
    assert "ROLE" in finding.message
