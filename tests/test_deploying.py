"""docs/deploying.md is so: each right is tried, each setting looked at, each recipe run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import make_conninfo

from headwater import __version__
from headwater.checks.linting import lint
from headwater.checks.proof import verify
from headwater.checks.takeover import baseline, repair
from headwater.errors import HeadwaterError
from headwater.files.read import read_folder
from headwater.model import Severity, Target
from headwater.postgres.bookkeeping import mark
from headwater.postgres.connect import connect, target_of
from headwater.postgres.databases import MARK, dispose
from headwater.postgres.history import create_history
from headwater.postgres.lock import sessions_with_locks
from headwater.postgres.reset import reset
from headwater.postgres.run import migrate, status
from headwater.postgres.undo import rollback
from headwater.settings import DatabaseChoice, Settings
from tests.clusters import Cluster, cluster
from tests.conftest import FreshDatabase
from tests.projects import Project, copy_of_the_checkout
from tests.repositories import made
from tests.support import folder_with, migrated, query, value
from tests.test_docs import codes, section, text_of

PAGE = "docs/deploying.md"
FILES = {"0001_init.sql": "create schema app;\ncreate table app.t (id bigint);\n"}


def table(heading: str) -> list[list[str]]:
    """Give the rows of the table below a heading, without its head."""
    lines = [line for line in section(PAGE, heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


# --- rights -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place() -> Generator[Cluster]:
    with cluster({"max_connections": "30"}) as made:
        yield made


class Attempt:
    """A role with one right or without it, and what tasks say to it."""

    def __init__(self, place: Cluster, name: str, settings: Settings, *, have: bool) -> None:
        self.place, self.name, self.settings, self.have = place, name, settings, have
        place.sql(
            f"create database {name} template template0",
            f"create role {name} login",
            f"grant create on database {name} to {name}",
            f"comment on database {name} is '{MARK}'",
        )
        self.sql(f"grant create on schema public to {name}")

    @property
    def target(self) -> Target:
        return self.place.target(self.name, self.name)

    def sql(self, *statements: str) -> None:
        """Run statements as the superuser, with the role's name for {}."""
        self.place.sql(*(one.format(self.name) for one in statements), database=self.name)

    def without(self, *statements: str) -> None:
        """Take the right away, when this attempt is the one without it."""
        if not self.have:
            self.sql(*statements)

    def given(self, *statements: str) -> None:
        """Give the right, when this attempt is the one with it."""
        if self.have:
            self.sql(*statements)

    def history(self) -> None:
        """Have the superuser make an empty history, so that each right on it is granted."""
        with connect(self.place.target(self.name), purpose="test") as connection:
            create_history(connection, self.settings)

    def looks(self) -> str:
        return said(lambda: status(self.target, folder_with(self.settings, FILES), self.settings))

    def migrates(self, files: dict[str, str] | None = None) -> str:
        folder = folder_with(self.settings, files or FILES)
        return said(lambda: migrate(self.target, folder, self.settings))

    def resets(self, files: dict[str, str] | None = None) -> str:
        folder = folder_with(self.settings, files or FILES)
        return said(lambda: reset(self.target, folder, self.settings))


def said(action: Callable[[], object]) -> str:
    """Give what an error says, all of it, or nothing."""
    try:
        action()
    except HeadwaterError as error:
        assert error.hint  # noqa: PT017 - not every action fails
        return f"{error.message}\n{error.detail}"
    return ""


RIGHTS: dict[tuple[str, str], Callable[[Attempt], str]] = {}


def right(task: str, needs: str) -> Callable[[Callable[[Attempt], str]], Callable[[Attempt], str]]:
    """Register how one row of the table is tried."""

    def register(trial: Callable[[Attempt], str]) -> Callable[[Attempt], str]:
        RIGHTS[task, needs] = trial
        return trial

    return register


@right("all", "`LOGIN`")
def _login(attempt: Attempt) -> str:
    attempt.without("alter role {} nologin")
    return attempt.migrates()


@right("all", "`CONNECT` on the database")
def _connect(attempt: Attempt) -> str:
    attempt.without("revoke connect on database {0} from public")
    return attempt.migrates()


@right("`status`, `lint`", "`USAGE` on the schema of the history")
def _usage(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql("grant select on schema_migrations, schema_migrations_steps to {}")
    attempt.without("revoke all on schema public from public, {}")
    return attempt.looks()


@right("`status`, `lint`", "`SELECT` on the history")
def _select(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql("grant select on schema_migrations_steps to {}")
    attempt.given("grant select on schema_migrations to {}")
    return attempt.looks()


@right("`status`", "`SELECT` on the journal, to know of files that stopped half way")
def _select_journal(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql("grant select on schema_migrations to {}")
    attempt.given("grant select on schema_migrations_steps to {}")
    plan = status(attempt.target, folder_with(attempt.settings, FILES), attempt.settings)
    return "\n".join(plan.notes)


@right("`migrate`, the first time", "`CREATE` on the schema of the history")
def _create_history(attempt: Attempt) -> str:
    attempt.without("revoke create on schema public from {}")
    return attempt.migrates()


@right("`migrate`", "`SELECT`, `INSERT` on the history")
def _insert(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql(
        "grant select, insert, update, delete on schema_migrations_steps to {}",
        "grant select on schema_migrations to {}",
    )
    attempt.given("grant insert on schema_migrations to {}")
    return attempt.migrates()


@right("`migrate`", "`SELECT`, `INSERT`, `UPDATE`, `DELETE` on the journal")
def _journal(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql(
        "grant select, insert on schema_migrations to {}",
        "grant select, insert, update on schema_migrations_steps to {}",
    )
    attempt.given("grant delete on schema_migrations_steps to {}")
    return attempt.migrates(NO_TRANSACTION)


NO_TRANSACTION = FILES | {
    "0002_index.sql": "-- headwater: no-transaction\ncreate index concurrently i on app.t (id);\n"
}


@right("`migrate`", "`CREATE` on the database, where files create schemas")
def _create(attempt: Attempt) -> str:
    attempt.without("revoke create on database {0} from {0}")
    return attempt.migrates()


@right("`migrate`", "to own what files alter or drop")
def _own(attempt: Attempt) -> str:
    attempt.sql("create table public.theirs (id int)")
    attempt.given("alter table public.theirs owner to {}")
    return attempt.migrates({"0001_a.sql": "alter table public.theirs add x int;"})


@right(
    "`migrate`",
    "a superuser, where files create an extension that is not there and not trusted (`vector`)",
)
def _extension(attempt: Attempt) -> str:
    attempt.given("create extension vector with schema public")
    return attempt.migrates(
        {"0001_a.sql": "create extension if not exists vector with schema public;"}
    )


@right("`migrate`", "`CREATEROLE`, where files create a role that is not there")
def _createrole(attempt: Attempt) -> str:
    attempt.given("alter role {} createrole")
    return attempt.migrates({"0001_a.sql": f"create role of_{attempt.name};"})


@right("`migrate`, `reset`", "`pg_read_all_stats`, to tell what a blocker runs")
def _read_stats(attempt: Attempt) -> str:
    attempt.sql("create table public.busy ()")
    attempt.given("grant pg_read_all_stats to {}")
    blocker = attempt.place.target(attempt.name, application_name="a report")
    with (
        psycopg.connect(blocker.conninfo) as busy,
        connect(attempt.target, purpose="test") as connection,
    ):
        busy.execute("lock table public.busy")
        told = sessions_with_locks(connection)
        assert f"process {busy.info.backend_pid} (a report as postgres" in told
        assert "None" not in told
        assert ("lock table public.busy" in told) is attempt.have
    return "" if attempt.have else told


@right("`rollback`", "`DELETE` on the history, beside what `migrate` needs")
def _rollback(attempt: Attempt) -> str:
    assert attempt.migrates() == ""
    attempt.without("revoke delete on schema_migrations from {}")
    folder = folder_with(
        attempt.settings, FILES | {"0001_init.down.sql": "drop schema app cascade"}
    )
    return said(lambda: rollback(attempt.target, folder, attempt.settings))


@right("`reset`", "to own the managed schemas")
def _own_schemas(attempt: Attempt) -> str:
    attempt.sql("create schema app")
    attempt.given("alter schema app owner to {}")
    return attempt.resets()


@right("`reset`", "`CREATEDB`, where it [rehearses](reset.md#when-one-transaction-cannot-do)")
def _createdb(attempt: Attempt) -> str:
    attempt.given("alter role {} createdb")
    return attempt.resets(NO_TRANSACTION)


@right("`verify`", "`SELECT` on what the checks read")
def _checks(attempt: Attempt) -> str:
    assert attempt.migrates() == ""
    attempt.without("alter table app.t owner to postgres", "revoke all on app.t from {}")
    check = {"checks/a.sql": 'select count(*) = 0 as "nothing is in it" from app.t;'}
    scratch = DatabaseChoice(source="scratch", url=attempt.place.target().conninfo)
    report = verify(
        attempt.target,
        folder_with(attempt.settings, FILES | check),
        replace(attempt.settings, scratch=scratch),
    )
    return "\n".join(f.message for line in report.lines for f in line.findings)


@right(
    "`verify`",
    "[a place for a scratch database](verify.md#where-scratch-databases-are-made), such as "
    "`CREATEDB` at `HEADWATER_SCRATCH_URL`",
)
def _scratch(attempt: Attempt) -> str:
    attempt.given("alter role {} createdb")
    elsewhere = attempt.place.target("postgres", attempt.name).conninfo
    report = verify(
        attempt.target,
        folder_with(attempt.settings, FILES),
        replace(attempt.settings, scratch=DatabaseChoice(source="scratch", url=elsewhere)),
    )
    return "\n".join(f.source for line in report.lines for f in line.findings)


@right("`history.mark`", "`SELECT`, `INSERT` on the history, `DELETE` on the journal")
def _mark(attempt: Attempt) -> str:
    attempt.history()
    attempt.sql("grant select on schema_migrations, schema_migrations_steps to {}")
    attempt.given(
        "grant insert on schema_migrations to {}", "grant delete on schema_migrations_steps to {}"
    )
    folder = folder_with(attempt.settings, FILES)
    return said(lambda: mark(attempt.target, folder, attempt.settings, "0001_init"))


@right("`history.repair`", "`SELECT`, `UPDATE` on the history")
def _repair(attempt: Attempt) -> str:
    attempt.history()
    folder = folder_with(attempt.settings, FILES)
    migrate(attempt.place.target(attempt.name), folder, attempt.settings)
    attempt.sql("grant select on schema_migrations, schema_migrations_steps to {}")
    attempt.given("grant update on schema_migrations to {}")
    edited = {"0001_init.sql": f"-- edited\n{FILES['0001_init.sql']}"}
    folder = folder_with(attempt.settings, edited)
    return said(lambda: repair(attempt.target, folder, attempt.settings, "0001_init"))


@right(
    "`history.baseline`",
    "`CREATE` on the schema of the history, and a place for a scratch database",
)
def _baseline(attempt: Attempt) -> str:
    attempt.place.sql(*FILES["0001_init.sql"].split(";")[:2], database=attempt.name)
    attempt.sql("alter schema app owner to {}", "alter table app.t owner to {}")
    attempt.without("revoke create on schema public from {}")
    scratch = DatabaseChoice(source="scratch", url=attempt.place.target().conninfo)
    settings = replace(attempt.settings, scratch=scratch)
    folder = folder_with(settings, FILES)
    return said(lambda: baseline(attempt.target, folder, settings, "0001_init"))


@right("`db.disposable`", "to own the database")
def _dispose(attempt: Attempt) -> str:
    attempt.sql("comment on database {} is null")
    attempt.given("alter database {0} owner to {0}")
    return said(lambda: dispose(attempt.target, attempt.name))


def test_each_right_of_the_table_is_enough_and_its_lack_is_told(
    place: Cluster, settings: Settings
) -> None:
    rows = table("Rights")
    assert sorted((task, needs) for task, needs, _ in rows) == sorted(RIGHTS)
    wrong = []
    for number, (task, needs, without) in enumerate(rows):
        trial = RIGHTS[task, needs]
        with_it = trial(Attempt(place, f"with_{number}", settings, have=True))
        lacking = trial(Attempt(place, f"without_{number}", settings, have=False))
        if with_it:
            wrong.append(f"{task} with {needs}: {with_it}")
        if without.strip("`") not in lacking:
            wrong.append(f"{task} without {needs}: {lacking!r}")
    print(f"\nrights tried, with and without: {len(rows) - len(wrong)} of {len(rows)}")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.slow
def test_a_role_that_owns_nothing_runs_every_task_on_the_reference_schema(
    tmp_path: Path, server: Target, fresh_database: FreshDatabase
) -> None:
    """As hosts have it: the database is somebody else's, the extensions and the role are there."""
    with fresh_database() as url, ordinary_role(url) as target:
        project = copy_of_the_checkout(tmp_path, target)
        try:
            project.invoke("status").said("0 applied, 3 pending")
            project.invoke("lint")
            project.invoke("migrate --dry-run").said("would apply 3")
            project.invoke("migrate").said("applied 3 migrations")
            project.invoke("status --check").said("3 applied, 0 pending")
            project.invoke("verify").said("the database is what the files build")
            project.invoke("onboard").said("nothing to do")
            project.invoke('db.psql --command "select 1"')
            project.invoke("reset", code=2).said("is not marked as disposable")
            project.invoke(f"db.disposable {target.database}", code=2).said("must be owner of")
            query(url, f"comment on database {target.database} is '{MARK}'")
            project.invoke("reset").said("rebuilt kb, core from 3 migrations")
        finally:
            project.invoke("db.destroy")


@contextmanager
def ordinary_role(url: str) -> Generator[Target]:
    """Make a role by the page's own statements, and what it cannot make; drop it afterwards."""
    name = str(value(url, "select current_database()"))
    [block] = [b for b in blocks("sql") if "create role deploy" in b]
    for extension in ("pgcrypto", "vector", "pg_trgm"):
        query(url, f"create extension {extension} with schema public")
    for statement in block.replace(" app ", f" {name} ").replace("deploy", name).split(";"):
        if statement.strip():
            query(url, statement)
    query(url, f"comment on database {name} is null")
    query(url, f"alter role {name} password 'canary-of-an-ordinary-role'")
    with psycopg.connect(url, autocommit=True) as admin:
        missing = not admin.execute("select from pg_roles where rolname = 'app_rls'").fetchall()
        if missing:
            admin.execute("create role app_rls nologin nobypassrls")
    parts = make_conninfo(url, user=name, password="canary-of-an-ordinary-role")
    try:
        yield target_of(DatabaseChoice(source="DATABASE_URL", url=parts))
    finally:
        query(url, f"drop owned by {name} cascade")
        query(url, f"drop role {name}")


# --- settings of a role or a database ---------------------------------------------------------

# What is set, and the query that a file asks of its own session: true when it is as the page says.
SET: dict[str, tuple[str, str]] = {
    "statement_timeout": ("50ms", "current_setting('statement_timeout') = '0'"),
    "idle_in_transaction_session_timeout": (
        "50ms",
        "current_setting('idle_in_transaction_session_timeout') = '0'",
    ),
    "lock_timeout": ("70s", "current_setting('lock_timeout') = '500ms'"),
    "row_security": ("on", "current_setting('row_security') = 'off'"),
    "search_path": ("somewhere", "current_setting('search_path') = 'somewhere'"),
    "role": ("pg_monitor", "current_user = 'pg_monitor'"),
}
REFUSED = {"default_transaction_read_only": "on", "session_replication_role": "replica"}


def test_each_setting_of_a_role_or_a_database_is_as_the_page_says(
    place: Cluster, settings: Settings
) -> None:
    rows = {codes(row[0])[0]: row[1] for row in table("Settings of a role or a database")}
    assert set(rows) == set(SET) | set(REFUSED)
    wrong = []
    for number, name in enumerate(rows):
        for scope in ("database", "role"):
            if (name, scope) == ("role", "database"):
                continue  # PostgreSQL does not keep it there
            attempt = Attempt(place, f"set_{scope}_{number}", settings, have=True)
            attempt.sql("grant pg_monitor to {}", "grant all on schema public to public")
            new, probe = SET.get(name) or (REFUSED[name], "true")
            attempt.sql(f"alter {scope} {{}} set {name} = '{new}'")
            told = attempt.migrates(
                {"0001_a.sql": f"create table public.seen as select ({probe}) as it_is;"}
            )
            if name in REFUSED:
                as_said = name in told or "read-only" in told
                as_said = as_said and "refused (2)" in rows[name]
            else:
                as_said = told == "" and value(
                    place.target(attempt.name), "select it_is from public.seen"
                )
            if not as_said:
                wrong.append(f"{name} of a {scope}: {told}")
    print(f"\nsettings as the page says: {len(rows) - len(wrong)} of {len(rows)}")
    assert wrong == [], "\n".join(wrong)


# --- the worked example, and the rollback -----------------------------------------------------


def blocks(language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, text_of(PAGE), re.MULTILINE | re.DOTALL)


def example() -> dict[str, str]:
    """Give the files of the worked example, behind the table that they change."""
    found = (re.fullmatch(r"-- migrations/(\S+)\n(.*)", b, re.DOTALL) for b in blocks("sql"))
    first = (
        "create schema app;\ncreate table app.people (id int primary key, name text not null);\n"
    )
    return {"0001_people.sql": first} | {match[1]: match[2] for match in found if match}


def test_the_worked_example_keeps_two_versions_of_the_application_running(
    target: Target, settings: Settings
) -> None:
    files = list(example().items())
    assert len(files) == 5
    migrated(target, settings, dict(files[:1]))
    query(target, "insert into app.people values (1, 'Ana')")
    migrated(target, settings, dict(files[:2]))
    # Yesterday's version writes `name`, that of today `full_name`.
    query(target, "insert into app.people (id, name) values (2, 'Bo')")
    query(target, "insert into app.people (id, full_name) values (3, 'Cy')")
    query(target, "update app.people set name = 'Bob' where id = 2")
    query(target, "update app.people set full_name = 'Cyd' where id = 3")
    migrated(target, settings, dict(files[:4]))
    both = query(target, "select id, name, full_name from app.people order by id")
    assert both == [(1, "Ana", "Ana"), (2, "Bob", "Bob"), (3, "Cyd", "Cyd")]
    migrated(target, settings, dict(files))
    with pytest.raises(psycopg.errors.CheckViolation):
        query(target, "insert into app.people values (4, null)")
    assert query(target, "select full_name from app.people order by id") == [
        ("Ana",),
        ("Bob",),
        ("Cyd",),
    ]


def test_lint_finds_nothing_in_the_worked_example(settings: Settings) -> None:
    folder = folder_with(settings, example())
    versions = [m.version for m in folder.migrations[1:]]
    found = [f for f in lint(folder, versions).findings if f.severity is not Severity.INFO]
    assert found == []


def test_the_rollback_of_the_page_undoes_a_file_and_its_record(
    target: Target, settings: Settings
) -> None:
    migrated(target, settings, dict(list(example().items())[:2]))
    down = settings.migrations / "20260302_add_full_name.down.sql"
    down.write_text(
        "drop trigger keep_names_in_step on app.people; drop function app.keep_names_in_step();"
        "alter table app.people drop column full_name;"
    )
    [block] = [b for b in blocks("") if "invoke rollback --to" in b]
    to = re.search(r"--to (\S+) --confirm", block)
    assert to
    before, _ = [step.version for step in read_folder(settings.migrations).migrations]
    assert to[1].startswith("2026")
    folder = read_folder(settings.migrations)
    rollback(target, folder, settings, to=before, confirm=target.database)
    plan = status(target, folder, settings)
    assert [step.version for step in plan.steps] == ["20260302_add_full_name"]
    assert value(target, "select count(*) from pg_attribute where attname = 'full_name'") == 0


# --- the recipes ------------------------------------------------------------------------------

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]'"


def recipes() -> dict[str, dict[str, Any]]:
    """Give each recipe by the file that it says it is, as YAML."""
    found = {}
    for block in blocks("yaml"):
        name = re.match(r"# (\S+)\n", block)
        assert name, "a recipe says in its first line which file it is"
        found[name[1]] = yaml.safe_load(block)
    return found


def github() -> dict[str, Any]:
    return recipes()[".github/workflows/schema.yml"]


def gitlab() -> dict[str, Any]:
    return recipes()[".gitlab-ci.yml"]


def test_the_page_names_the_hook_that_there_is() -> None:
    [repository] = recipes()[".pre-commit-config.yaml"]["repos"]
    hooks = yaml.safe_load(text_of(".pre-commit-hooks.yaml"))
    assert repository["hooks"] == [{"id": hook["id"]} for hook in hooks]
    assert repository["rev"] == f"v{__version__}"


# What a `.gitlab-ci.yml` holds beside its jobs.
_NOT_JOBS = ("stages", "default", "variables", "workflow", "include")


def code_scanning() -> dict[str, Any]:
    return recipes()[".github/workflows/code-scanning.yml"]


def jobs_of_gitlab() -> dict[str, dict[str, Any]]:
    return {name: job for name, job in gitlab().items() if name not in _NOT_JOBS}


def lines_of_jobs() -> Iterator[tuple[str, list[str]]]:
    """Give every job of all recipes with the lines that its shell is given."""
    for name, job in {**github()["jobs"], "lint check": code_scanning()["jobs"]["lint"]}.items():
        yield f"GitHub: {name}", [step["run"] for step in job["steps"] if "run" in step]
    before = gitlab()["default"]["before_script"]
    for name, job in jobs_of_gitlab().items():
        yield f"GitLab: {name}", [*before, *job["script"]]


def test_the_recipe_for_github_is_a_workflow() -> None:
    recipe = github()
    # YAML 1.1 takes the word `on` for true; GitHub does not.
    triggers: Mapping[str, Any] = recipe[True]  # type: ignore[index]
    assert set(triggers) == {"pull_request", "push"}
    assert recipe["permissions"] == {"contents": "read"}
    jobs = recipe["jobs"]
    assert list(jobs) == ["check", "staging", "production"]
    for name, job in jobs.items():
        assert set(job) <= {
            *("runs-on", "steps", "needs", "if", "environment", "concurrency", "env"),
            "timeout-minutes",
        }, name
        assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"]), "a version, not `latest`"
        assert job.get("needs", "check") in jobs
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            assert re.fullmatch(
                r"actions/[a-z-]+@v\d+\.\d+\.\d+", step.get("uses", "actions/x@v1.0.0")
            )
    assert jobs["production"]["needs"] == "staging"
    for name in ("staging", "production"):
        assert jobs[name]["environment"] == name
        assert jobs[name]["concurrency"]["cancel-in-progress"] is False
        assert jobs[name]["if"] == "github.ref == 'refs/heads/main'"
        assert jobs[name]["env"] == {"DATABASE_URL": "${{ secrets.DATABASE_URL }}"}


def test_the_recipe_for_code_scanning_uploads_what_lint_writes() -> None:
    recipe = code_scanning()
    assert recipe["permissions"] == {"contents": "read", "security-events": "write"}
    [job] = recipe["jobs"].values()
    *_, lints, uploads = job["steps"]
    written = lints["run"].partition(" > ")[2]
    assert uploads["with"] == {"sarif_file": written}
    assert re.fullmatch(r"github/codeql-action/upload-sarif@v\d+\.\d+\.\d+", uploads["uses"])
    # What is found fails the step before: it is uploaded all the same.
    assert uploads["if"] == "${{ !cancelled() }}"


def test_jobs_that_compare_with_main_have_all_of_its_history() -> None:
    checkout = github()["jobs"]["check"]["steps"][0]
    assert checkout["with"] == {"fetch-depth": 0}
    check = jobs_of_gitlab()["check"]
    assert check["variables"] == {"GIT_DEPTH": 0}
    report = check["artifacts"]["reports"]["codequality"]
    assert any(line.endswith(f"--format gitlab > {report}") for line in check["script"])
    assert check["artifacts"]["when"] == "always"


def test_the_recipe_for_gitlab_is_a_pipeline() -> None:
    recipe, jobs = gitlab(), jobs_of_gitlab()
    assert list(jobs) == ["check", "staging", "production"]
    assert re.fullmatch(r"python:3\.\d+-[a-z]+", recipe["default"]["image"]), "a version is named"
    for name, job in jobs.items():
        assert job["stage"] in recipe["stages"], name
        assert isinstance(job["script"], list)
        assert all(isinstance(line, str) for line in job["script"])
    for name in ("staging", "production"):
        assert jobs[name]["environment"] == jobs[name]["resource_group"] == name
        assert jobs[name]["interruptible"] is False
        assert jobs[name]["rules"][0]["if"] == "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
    assert jobs["production"]["rules"][0]["when"] == "manual"


def run_line(project: Project, line: str) -> None:
    """Run a line as the runner's shell does; the environment of this test stands for `.venv`."""
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=project.root,
        env=project.environment() | {"CI": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}:\n{done.stdout}{done.stderr}"


def tracked(project: Project) -> None:
    """Put a project under git, as a clone of an origin whose main it is."""
    repository = made(project.root)
    repository.commit()
    repository.git("clone", "--quiet", "--bare", ".", "../origin")
    repository.git("remote", "add", "origin", "../origin")
    repository.git("fetch", "--quiet", "origin")


@pytest.mark.slow
@pytest.mark.parametrize("job", dict(lines_of_jobs()))
def test_every_line_of_a_recipe_runs_in_a_fresh_project(
    job: str, tmp_path: Path, target: Target
) -> None:
    lines = dict(lines_of_jobs())[job]
    # It is run by the test of the README, which prints the same line.
    assert lines.pop(0) == INSTALL
    assert INSTALL in text_of("README.md")
    assert lines
    deploys = not job.endswith("check")
    project = copy_of_the_checkout(tmp_path / "clone", target if deploys else None)
    tracked(project)
    (project.root / ".venv/bin").mkdir(parents=True)
    script = project.root / ".venv/bin/invoke"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m invoke "$@"\n')
    script.chmod(0o755)
    try:
        for line in lines:
            assert line.startswith((".venv/bin/invoke ", "git fetch ")), line
            run_line(project, line)
    finally:
        if not deploys or "verify" in " ".join(lines):
            project.invoke("db.destroy")


# --- the table of exit codes ------------------------------------------------------------------


def test_the_page_says_what_to_do_for_each_exit_code() -> None:
    listed = re.findall(r"^\| (\d+) \|", section("docs/json.md", "Exit codes"), re.MULTILINE)
    assert [row[0] for row in table("When it ends with an exit code")] == listed
    assert all(len(row) == 3 and row[2] for row in table("When it ends with an exit code"))
