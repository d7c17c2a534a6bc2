"""Tenants: a role of its own on the server of the tests, as a TEST_DATABASE_URL may name one.

It is no superuser, and makes databases; a sweep sees those of its own role alone, so that tests
about sweeping and tests about everything else do not meet.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from headwater.model import Target
from headwater.postgres.connect import target_of
from headwater.postgres.makers import Maker, process_here
from headwater.postgres.psql import url_of
from headwater.settings import DatabaseChoice, Settings
from headwater.testing.project import Project, project_with
from tests.support import query, write_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A role that makes databases, and those that it has."""

    admin: Target = field(repr=False)
    role: str
    server: Target
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Give the URL that names its server."""
        return url_of(self.server)

    def databases(self, beginning: str = "headwater_test_") -> list[str]:
        """Give the names of its databases that begin so, in order."""
        return [
            name
            for (name,) in query(
                self.admin,
                "select datname from pg_database "
                f"where datdba = '{self.role}'::regrole and datname ^@ '{beginning}' order by 1",
            )
        ]

    @property
    def templates(self) -> list[str]:
        """Give the names of its templates."""
        return self.databases("headwater_template_")

    def made(self, name: str, comment: str = "") -> str:
        """Make a database of the role, and give its name."""
        with psycopg.connect(self.server.conninfo, autocommit=True) as connection:
            known = sql.Identifier(name)
            connection.execute(sql.SQL("create database {} strategy file_copy").format(known))
            if comment:
                text = sql.Literal(comment)
                connection.execute(sql.SQL("comment on database {} is {}").format(known, text))
        return name

    def comment(self, name: str) -> str:
        """Give the comment on a database."""
        [(text,)] = query(
            self.admin,
            "select coalesce(shobj_description(oid, 'pg_database'), '') "
            f"from pg_database where datname = '{name}'",
        )
        return str(text)

    def to(self, name: str) -> str:
        """Give the connection string of one of its databases."""
        return conninfo.make_conninfo(self.server.conninfo, dbname=name)

    def drop(self, *names: str) -> None:
        """Drop databases."""
        for name in names:
            query(self.admin, f'drop database if exists "{name}" with (force)')


@contextmanager
def tenant_on(admin: Target) -> Generator[Tenant]:
    """Make a tenant; drop it afterwards, with everything that it has."""
    role, password = f"tenant_{secrets.token_hex(4)}", f"canary-{secrets.token_hex(8)}"
    query(admin, f"create role {role} login createdb createrole password '{password}'")
    choice = DatabaseChoice(
        source="TEST_DATABASE_URL in the environment",
        url=conninfo.make_conninfo(admin.conninfo, user=role, password=password),
    )
    tenant = Tenant(admin=admin, role=role, password=password, server=target_of(choice))
    try:
        yield tenant
    finally:
        tenant.drop(*tenant.databases(""))
        # Roles that migrations have made are named by the tenant's.
        for (name,) in query(
            admin, f"select rolname from pg_roles where rolname ^@ '{role}' order by 1 desc"
        ):
            query(admin, f"drop role {name}")


def project_in(root: Path, files: Mapping[str, str]) -> Project:
    """Write a project of these migrations, and read it."""
    write_files(root / "migrations", dict(files))
    write_files(root, {"pyproject.toml": '[tool.headwater]\nschemas = ["app"]\n'})
    settings = Settings(root=root, migrations=root / "migrations", schemas=("app",))
    return project_with(settings)


def ended_process() -> Maker:
    """Give a process that has ended."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"],
        stdin=subprocess.PIPE,
    ) as process:
        maker = process_here(process.pid)
        process.communicate(b"\n")
    assert maker is not None
    return maker


def named(maker: Maker) -> str:
    """Give a name of a test database that this process could have made."""
    return f"headwater_test_{maker}_{secrets.token_hex(4)}"
