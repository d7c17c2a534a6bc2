"""What a database is after a fault: the whole catalogue, every row, history and journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from headwater.errors import HeadwaterError
from headwater.model import Event, MigrationFolder, Said, Target
from headwater.postgres.run import migrate
from headwater.schema.catalog import Facts
from headwater.schema.snapshot import read_snapshot
from headwater.settings import Settings
from tests.support import until, value

Rows = tuple[tuple[Any, ...], ...]

# Every table with rows of its own, but for the bookkeeping and what injects the faults.
_TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'm') and c.relispopulated and c.relpersistence <> 't'
   and n.nspname not in ('pg_catalog', 'information_schema', 'fault')
   and n.nspname not like 'pg\\_toast%' and c.relname not like 'schema\\_migrations%'
 order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """All of a database that a migration may change; two pictures are equal or they are not."""

    catalogue: dict[str, Facts]
    rows: dict[str, Rows]
    history: Rows
    journal: Rows

    def differs_in(self, other: Picture) -> str:
        """Name what is not the same, for a test that fails."""
        parts = [
            part
            for part in ("rows", "history", "journal")
            if getattr(self, part) != getattr(other, part)
        ]
        for catalog in sorted(self.catalogue.keys() | other.catalogue.keys()):
            mine, theirs = (
                set(each.catalogue[catalog].rows.items()) if catalog in each.catalogue else set()
                for each in (self, other)
            )
            parts += [f"{catalog}: {identity}" for identity, _ in mine ^ theirs]
        return ", ".join(dict.fromkeys(parts)) or "nothing"


def picture_of(target: Target) -> Picture:
    """Look at everything, over a connection of its own."""
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        snapshot = read_snapshot(connection, history_table="public.schema_migrations")
        return Picture(
            catalogue=dict(snapshot.facts),
            rows={
                f"{schema}.{table}": _rows_of(connection, schema, table)
                for schema, table in connection.execute(_TABLES).fetchall()
            },
            history=_bookkeeping(connection, "schema_migrations", "version, checksum, how"),
            journal=_bookkeeping(connection, "schema_migrations_steps", "version, step"),
        )


def _rows_of(connection: psycopg.Connection[Any], schema: str, table: str) -> Rows:
    query = sql.SQL("select t::text from {} t order by 1").format(sql.Identifier(schema, table))
    return tuple(connection.execute(query).fetchall())


def _bookkeeping(connection: psycopg.Connection[Any], table: str, columns: str) -> Rows:
    [(missing,)] = connection.execute("select to_regclass(%s) is null", (f"public.{table}",))
    if missing:
        return ()
    query = f"select {columns} from public.{table} order by 1, 2"
    return tuple(connection.execute(query.encode()).fetchall())


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as its exit code and words tell it: 0 is done, 70 a bug."""

    code: int
    message: str = ""
    detail: str = ""
    hint: str = ""
    said: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Give all that a user reads."""
        return "\n".join(filter(None, [*self.said, self.message, self.detail, self.hint]))

    def __str__(self) -> str:
        return f"exit {self.code}: {self.message}"


def run(target: Target, folder: MigrationFolder, settings: Settings, **options: Any) -> Ending:
    """Run what is pending, and tell how it ended; nothing is raised."""
    return ending_of(lambda notify: migrate(target, folder, settings, notify=notify, **options))


def ending_of(action: Callable[[Callable[[Event], None]], object]) -> Ending:
    """Do `action(notify)`, and tell how it ended as a task would."""
    said: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Said):
            said.append(event.message)

    try:
        action(listen)
    except HeadwaterError as error:
        return Ending(error.exit_code, error.message, error.detail, error.hint, tuple(said))
    except Exception as error:  # noqa: BLE001 - whatever else it is, the task calls it a bug
        return Ending(70, f"{type(error).__name__}: {error}", said=tuple(said))
    return Ending(0, said=tuple(said))


# The catalogue as far as the small migrations of the proxy's tests change it, in one row.
_AT_A_GLANCE = """
select array(select format('%s %s %s', c.oid::regclass, c.relkind, c.relnamespace::regnamespace)
               from pg_class c where c.relnamespace::regnamespace::text in ('app', 'public')
              order by 1),
       array(select format('%s %s %s', attrelid::regclass, attname, atttypid::regtype)
               from pg_attribute where attrelid::regclass::text like 'app.%' order by 1),
       array(select format('%s %s %s', indexrelid::regclass, indisvalid, indisready)
               from pg_index where indexrelid::regclass::text like 'app.%' order by 1),
       array(select format('%s %s', inhrelid::regclass, inhdetachpending)
               from pg_inherits order by 1),
       array(select format('%s %s', enumtypid::regtype, enumlabel) from pg_enum order by enumtypid,
                    enumsortorder)
"""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a small migration changes: cheap to look at, and equal or not."""

    catalogue: tuple[Any, ...]
    rows: Rows
    history: Rows
    journal: Rows


def glance_at(target: Target) -> Glance:
    """Look at relations, columns, indexes, enums, every row, history and journal."""
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        [catalogue] = connection.execute(_AT_A_GLANCE).fetchall()
        found = connection.execute(_TABLES).fetchall()
        return Glance(
            catalogue=tuple(map(tuple, catalogue)),
            rows=tuple(
                (f"{schema}.{table}", _rows_of(connection, schema, table))
                for schema, table in found
            ),
            history=_bookkeeping(connection, "schema_migrations", "version, checksum, how"),
            journal=_bookkeeping(connection, "schema_migrations_steps", "version, step, state"),
        )


def wait_for_quiet(target: Target) -> None:
    """Wait until no backend of a runner is left in the database."""
    until(
        lambda: (
            not value(
                target,
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and application_name like 'headwater%'",
            )
        ),
        "the end of the runner's backends",
    )
