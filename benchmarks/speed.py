"""How fast Headwater is, as ratios against a bare baseline measured in the same run.

    python benchmarks/speed.py [--runs N] [WORD ...]

With words, only the comparisons whose name holds one of them are made. Each ratio is that of the
medians of N runs (7 by default), the two sides taken in turns, so that a machine whose speed
changes slows both alike. The processes work on the private server of this checkout; the library on
a database that is made for it and dropped.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
import time
from datetime import date, timedelta
from functools import cache
from itertools import count as counter
from pathlib import Path

import psycopg

from headwater.checks.linting import read_texts
from headwater.files.grammar import parse
from headwater.files.read import read_folder
from headwater.model import Applied, MigrationFolder, Target
from headwater.postgres.connect import libpq_variables_hidden
from headwater.postgres.databases import create_database, drop_database
from headwater.postgres.installation import installation, state_folder
from headwater.postgres.plan import make_plan
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate
from headwater.postgres.server import server_of, start
from headwater.postgres.templates import PREFIX
from headwater.schema.fingerprint import fingerprint
from headwater.schema.snapshot import read_snapshot
from headwater.settings import Settings, load_settings
from measuring import ROOT, Comparison, afresh, arguments, drop, invoke, psql, report, run

DATABASE = "headwater_benchmark"
FEW = 1_000
FILES = 5_000


def main() -> None:
    given = arguments(__doc__, runs=7)
    settings = load_settings(ROOT, environ={})
    access = start(server_of(ROOT))
    target = access.target(DATABASE, "benchmark")
    with psycopg.connect(access.target("postgres").conninfo, autocommit=True) as admin:
        drop_database(admin, DATABASE)
        create_database(admin, DATABASE)
        try:
            with tempfile.TemporaryDirectory() as folder, libpq_variables_hidden():
                for comparison in comparisons(settings, target, Path(folder)):
                    if given.wants(comparison.name):
                        report(comparison, given.runs)
        finally:
            drop_database(admin, DATABASE)


def comparisons(settings: Settings, target: Target, work: Path) -> list[Comparison]:
    folder = read_folder(settings.migrations)
    script = work / "schema.sql"
    script.write_bytes(schema_script(folder, settings))
    many = write_many(work / "many", FILES)
    return [
        Comparison(
            name="library: reset ÷ the same drop and SQL through bare psycopg",
            ours=lambda: reset(target, read_folder(settings.migrations), settings),
            bare=lambda: bare_reset(target, script.read_bytes()),
            target=1.15,
        ),
        Comparison(
            name="process: invoke reset ÷ psql -X -q -1 -f",
            ours=lambda: run(invoke("reset"), target),
            bare=lambda: run([*psql(), "-f", str(script)], target),
            target=2.2,
        ),
        Comparison(
            name="process: invoke migrate, nothing to do ÷ import invoke, psycopg",
            ours=lambda: run(invoke("migrate"), target),
            bare=lambda: run([sys.executable, "-c", "import invoke, psycopg"], target),
            target=1.3,
        ),
        Comparison(
            name="process: invoke --list ÷ import invoke",
            ours=lambda: run(invoke("--list"), target),
            bare=lambda: run([sys.executable, "-c", "import invoke"], target),
            target=1.3,
        ),
        Comparison(
            name=f"library: read, hash and plan {FILES:,} files ÷ read and sha-256",
            ours=lambda: plan_all(many),
            bare=lambda: [hashlib.sha256(p.read_bytes()).digest() for p in sorted(many.iterdir())],
            target=3.0,
        ),
        *comparisons_of_migrate(settings, target, work),
        *comparisons_of_verify(target),
        *comparisons_of_snapshots(),
        *comparisons_of_lint(settings, target, work),
    ]


def comparisons_of_migrate(settings: Settings, target: Target, work: Path) -> list[Comparison]:
    """Compare migrations that are applied one by one, each in its transaction and recorded."""
    admin = start(server_of(ROOT)).target("postgres")
    few, many = (write_many(work / f"migrations_{n}", n) for n in (FEW, FILES))
    scripts = {folder: folder.with_suffix(".sql") for folder in (few, many)}
    for folder, script in scripts.items():
        script.write_text(bare_script(folder))

    def prepare() -> None:
        afresh(admin, target.database)

    @cache
    def applied_once() -> None:
        prepare()
        migrate(target, read_folder(many), settings)

    def through_psql(folder: Path) -> None:
        run([*psql(together=False), "-f", str(scripts[folder])], target)

    return [
        Comparison(
            name=f"library: migrate {FEW:,} files ÷ the same through bare psycopg",
            ours=lambda: migrate(target, read_folder(few), settings),
            bare=lambda: bare_library(target, few),
            target=0.85,
            before=prepare,
        ),
        Comparison(
            name=f"process: invoke migrate, {FEW:,} files ÷ psql -X -q",
            ours=lambda: run_on_files("migrate", target, few),
            bare=lambda: through_psql(few),
            target=1.1,
            before=prepare,
        ),
        Comparison(
            name=f"process: invoke migrate, {FILES:,} files ÷ psql -X -q",
            ours=lambda: run_on_files("migrate", target, many),
            bare=lambda: through_psql(many),
            target=0.95,
            before=prepare,
        ),
        Comparison(
            name=f"process: invoke migrate, {FILES:,} applied ÷ import invoke, psycopg",
            ours=lambda: run_on_files("migrate", target, many),
            bare=lambda: run([sys.executable, "-c", "import invoke, psycopg"], target),
            target=1.5,
            before=applied_once,
        ),
    ]


def comparisons_of_verify(target: Target) -> list[Comparison]:
    """Compare verify with reset: with what earlier runs have kept, and without."""
    admin = start(server_of(ROOT)).target("postgres")

    def reset_once() -> None:
        run(invoke("reset"), target)

    @cache
    def prepared() -> None:
        afresh(admin, target.database)
        reset_once()

    def forget() -> None:
        prepared()
        shutil.rmtree(state_folder() / "kept", ignore_errors=True)
        with (
            libpq_variables_hidden(),
            psycopg.connect(admin.conninfo, autocommit=True) as connection,
        ):
            names = connection.execute(
                "select datname from pg_database where starts_with(datname, %s)", (PREFIX,)
            )
            for (name,) in names.fetchall():
                drop_database(connection, name)

    return [
        Comparison(
            name="process: invoke verify, warm ÷ invoke reset",
            ours=lambda: run(invoke("verify"), target),
            bare=reset_once,
            target=1.0,
            before=prepared,
        ),
        Comparison(
            name="process: invoke verify, cold ÷ invoke reset",
            ours=lambda: run(invoke("verify"), target),
            bare=reset_once,
            target=2.5,
            before=forget,
        ),
    ]


def comparisons_of_lint(settings: Settings, target: Target, work: Path) -> list[Comparison]:
    """Compare the text layer with parsing alone, and the trace of a migration with reset."""
    few = write_many(work / "linted", FEW)
    folder = work / "pending"
    shutil.copytree(settings.migrations, folder)
    files = [str(path) for path in sorted(settings.migrations.glob("*.sql"))]
    turn = counter()

    def reset_with_one_pending() -> None:
        """Let the file be one that nobody has traced before: only what is applied is kept."""
        run(invoke("reset"), target)
        text = f"-- {next(turn)} {time.time()}\n{_TWENTY}"
        (folder / "29991231_twenty_statements.sql").write_text(text)

    return [
        Comparison(
            name=f"library: lint of the text of {FEW:,} files ÷ parsing them",
            ours=lambda: read_texts(read_folder(few)),
            bare=lambda: [parse(migration.text) for migration in read_folder(few).migrations],
            target=5.0,
        ),
        Comparison(
            name="process: headwater-lint of the three migrations ÷ invoke --list",
            ours=lambda: run([str(Path(sys.executable).parent / "headwater-lint"), *files], target),
            bare=lambda: run(invoke("--list"), target),
            target=2.5,
        ),
        Comparison(
            name="process: invoke lint, 20 statements, template warm ÷ invoke reset",
            ours=lambda: run_on_files("lint", target, folder),
            bare=lambda: run(invoke("reset"), target),
            target=2.0,
            before=reset_with_one_pending,
        ),
    ]


# On the tables of the reference schema: none of it is an error, or lint would end with 1.
_TWENTY = """\
alter table kb.documents add column reviewed_at timestamptz;
alter table kb.documents add column reviewed_by uuid;
comment on column kb.documents.reviewed_at is 'When somebody has read it.';
alter table kb.documents alter column reviewed_by set statistics 200;
alter table kb.chunks add column weight real not null default 1;
alter table kb.chunks add constraint chunks_weight_positive check (weight > 0) not valid;
create table kb.reviews (
    id uuid primary key default gen_random_uuid(),
    document_id uuid not null references kb.documents (id),
    at timestamptz not null default now()
);
create index on kb.reviews (document_id);
alter table kb.reviews enable row level security;
create policy reviews_none on kb.reviews for select using (false);
grant select on kb.reviews to app_rls;
comment on table kb.reviews is 'Who has read what.';
create view kb.review_counts with (security_invoker) as
    select document_id, count(*) as reviews from kb.reviews group by document_id;
create function kb.has_review(uuid) returns boolean language sql stable
    return exists (select from kb.reviews where document_id = $1);
alter table kb.projects add column reviewed boolean not null default false;
create type kb.review_state as enum ('open', 'done');
alter table kb.reviews add column state kb.review_state not null default 'open';
update kb.projects set reviewed = true where id is null;
comment on view kb.review_counts is 'How often each document was read.';
alter table kb.projects alter column reviewed set statistics 50;
"""


def comparisons_of_snapshots() -> list[Comparison]:
    """Compare reading large catalogues with pg_dump; the databases are made when first needed."""
    server = start(server_of(ROOT))

    @cache
    def database(count: int) -> Target:
        name = f"{DATABASE}_{count}_tables"
        afresh(server.target("postgres"), name)
        made = server.target(name)
        make_tables(made, count)
        atexit.register(drop, server.target("postgres"), name)
        return made

    def read(count: int) -> None:
        with psycopg.connect(database(count).conninfo) as connection:
            read_snapshot(connection, history_table="public.schema_migrations")

    def hashed() -> None:
        with psycopg.connect(database(FEW).conninfo) as connection:
            fingerprint(connection, history_table="public.schema_migrations", schemas=("app",))

    def dumped() -> None:
        run([str(installation().program("pg_dump")), "-s", "-f", os.devnull], database(FEW))

    return [
        Comparison(
            name=f"library: snapshot of {FEW:,} tables ÷ pg_dump -s",
            ours=lambda: read(FEW),
            bare=dumped,
            target=1.5,
        ),
        Comparison(
            name=f"library: fingerprint of {FEW:,} tables ÷ pg_dump -s",
            ours=hashed,
            bare=dumped,
            target=1.0,
        ),
        Comparison(
            name=f"growth: snapshot of {10 * FEW:,} tables ÷ of {FEW:,}",
            ours=lambda: read(10 * FEW),
            bare=lambda: read(FEW),
            target=12.0,
        ),
    ]


def make_tables(target: Target, count: int) -> None:
    """Make tables of 20 columns, with 3 indexes and 2 foreign keys each."""
    types = ("int", "text", "timestamptz not null default now()", "numeric(10, 2)")
    more = ", ".join(f"c{number} {types[number % 4]}" for number in range(17))
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute("create schema app")
        for begin in range(0, count, 100):
            statements = [
                f"create table app.t{n} (id int primary key, a int references app.t{max(n - 1, 0)},"
                f" b int references app.t{n // 2}, {more});"
                f"create index on app.t{n} (a); create index on app.t{n} (b) where b > 0;"
                for n in range(begin, min(begin + 100, count))
            ]
            connection.execute("".join(statements).encode())
        connection.execute("analyze")


# --- the two sides ----------------------------------------------------------------------------


def schema_script(folder: MigrationFolder, settings: Settings) -> bytes:
    names = ", ".join(settings.schemas)
    drop = f"drop schema if exists {names} cascade;\n"
    return "\n".join([drop, *(m.text for m in folder.migrations)]).encode()


def bare_reset(target: Target, script: bytes) -> None:
    with psycopg.connect(target.conninfo) as connection:
        connection.execute(script)


def run_on_files(task: str, target: Target, folder: Path) -> None:
    run(invoke(task), target, environment={"HEADWATER_MIGRATIONS": str(folder)})


def plan_all(folder: Path) -> None:
    migrations = read_folder(folder).migrations
    history = [Applied(version=m.version, checksum=m.checksum) for m in migrations]
    plan = make_plan(migrations, history)
    assert not plan.problems
    assert not plan.steps


# --- many small migrations, and the bare ways to run the same ----------------------------------

# One file in five may leave something in its session. The others define what needs no file of its
# own on the server's disk: making those takes longer than all the rest, on either side.
_FIRST = """\
create schema app;
create table app.events (id bigint primary key, name text not null);
create function app.touch(n bigint) returns bigint language sql as 'select n + 1';
"""

_MAY_LEAVE_STATE = (
    "do $$ begin perform app.touch({n}); end $$;\n",
    "select app.touch({n});\n",
    "set statement_timeout = '1min';\ncreate type app.kind_{n} as enum ('a', 'b');\n",
)

# In turns.
_DEFINITIONS = (
    "alter table app.events add column c_{n} text;\n",
    "create view app.v_{n} as select id, name from app.events where id > {n};\n",
    "comment on table app.events is 'changed by {n}';\n",
    "create function app.f_{n}(x bigint) returns bigint language sql as 'select x + {n}';\n",
)

_HISTORY = """\
create table public.schema_migrations (
    version text primary key, checksum text not null, tokens text,
    applied_at timestamptz not null default now(), applied_by text not null default current_user,
    duration_ms bigint, out_of_order boolean not null default false,
    how text not null default 'run'
);
"""

_RECORD = "insert into public.schema_migrations (version, checksum) values ({}, {});\n"


def write_many(folder: Path, count: int) -> Path:
    """Write `count` small migrations, one a day."""
    folder.mkdir(parents=True)
    for number in range(count):
        day = date(2000, 1, 1) + timedelta(days=number)
        (folder / f"{day:%Y%m%d}_step_{number}.sql").write_text(_text(number))
    return folder


def _text(number: int) -> str:
    if number == 0:
        return _FIRST
    group, place = divmod(number, 5)
    if place == 0:
        return _MAY_LEAVE_STATE[group % 3].format(n=number)
    return _DEFINITIONS[place - 1].format(n=number)


def bare_library(target: Target, folder: Path) -> None:
    """Run the files and records through psycopg alone, a transaction each."""
    with psycopg.connect(target.conninfo, autocommit=True) as connection:
        connection.execute(_HISTORY.encode())
        for path in sorted(folder.iterdir()):
            text = path.read_bytes()
            with connection.transaction():
                connection.execute(text)
                connection.execute(
                    "insert into public.schema_migrations (version, checksum) values (%s, %s)",
                    (path.stem, hashlib.sha256(text).hexdigest()),
                )


def bare_script(folder: Path) -> str:
    """Give the files and records as one script for psql, a transaction each."""
    parts = [_HISTORY]
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        checksum = hashlib.sha256(text.encode()).hexdigest()
        values = _RECORD.format(f"'{path.stem}'", f"'{checksum}'")
        parts.append(f"begin;\n{text}{values}commit;\n")
    return "".join(parts)


if __name__ == "__main__":
    main()
