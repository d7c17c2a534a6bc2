"""The pages say what is so: tasks, flags, links, settings, rules, JSON and exit codes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tasks
from headwater import errors
from headwater.checks.rules import BY_ID
from headwater.errors import HeadwaterError
from headwater.model import How, Layer, Severity, State, Target
from headwater.postgres.stepwise import unknown
from headwater.report import workflow
from headwater.report.linted import linted_json
from headwater.settings import LIBPQ_KEYWORDS, VARIABLES, Settings
from headwater.verdicts import ChangeKind, Outcome, Repair
from tests.lint_samples import EVERYTHING
from tests.projects import Project, make_project
from tests.repositories import Repository
from tests.support import query
from tests.tenants import tenant_on

# As users call them: `lint`, not `lint.lint`.
TASKS = {str(tasks.namespace[name].full_name) for name in tasks.namespace.task_names}


ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """Give what stands below a heading, up to the next one of any level."""
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text_of(page), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Give the cells of every table row whose first cell is a code span or a number."""
    lines = (line for line in text.splitlines() if re.match(r"\| (?:`|\d)", line))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# --- tasks and flags --------------------------------------------------------------------------

_CALL = re.compile(r"(?<![\w.])invoke (?P<task>[a-z]+(?:\.[a-z-]+)?)(?P<rest>[^`\n;|]*)")


def flags_of(task: str) -> set[str]:
    arguments = tasks.namespace[task].get_arguments()
    return {f"--{argument.name.replace('_', '-')}" for argument in arguments}


def calls(text: str) -> Iterator[tuple[str, str]]:
    """Find every `invoke TASK …`, whether in a sentence, a block or a table."""
    return ((match["task"], match["rest"]) for match in _CALL.finditer(text))


@every_page
def test_every_task_and_flag_on_a_page_exists(page: Path) -> None:
    for task, rest in calls(page.read_text(encoding="utf-8")):
        assert task in TASKS, f"{page.name}: there is no task {task}"
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= flags_of(task), f"{task}{rest}"


def test_every_flag_beside_a_task_in_the_readme_is_a_flag_of_it() -> None:
    for line in section("README.md", "Tasks").splitlines():
        for task, _ in calls(line.partition(" | ")[0]):
            assert set(re.findall(r"`(--[a-z-]+)", line)) <= flags_of(task), line


def test_the_readme_lists_every_task() -> None:
    named = {task for task, _ in calls(section("README.md", "Tasks"))}
    assert named == TASKS


def test_the_readme_says_which_tasks_take_json() -> None:
    documented = set(re.findall(r"^### ([a-z.-]+)$", text_of("docs/json.md"), re.MULTILINE))
    assert documented == {name for name in TASKS if "--json" in flags_of(name)}


# --- links ------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Give the anchor of each heading, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_points_at_something(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {
        (ROOT / link.partition("#")[0])
        for link in re.findall(r"\]\(([^)]+)\)", text_of("README.md"))
    }
    assert set(PAGES) - {README} <= linked


def test_the_pages_that_messages_name_are_there() -> None:
    for source in [*ROOT.glob("lib/**/*.py"), ROOT / ".env.example"]:
        for name in re.findall(r"docs/[\w-]+\.md|[A-Z]+\.md", source.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{source.name} names {name}"


# --- settings, rules, words -------------------------------------------------------------------


def test_every_setting_is_listed_with_its_default() -> None:
    listed = rows(section("docs/settings.md", "All settings"))
    assert [codes(row[0])[0] for row in listed] == [variable.name for variable in VARIABLES]
    defaults = {codes(row[0])[0]: row[2].strip("`") for row in listed}
    standard = Settings(root=ROOT, migrations=ROOT / "migrations")
    assert defaults["HEADWATER_SCHEMAS"] == ",".join(standard.schemas)
    assert defaults["HEADWATER_HISTORY_TABLE"] == standard.history
    assert defaults["HEADWATER_LOCK_KEY"] == str(standard.lock_key)
    assert defaults["HEADWATER_LOCK_TIMEOUT"] == f"{standard.lock_timeout_ms // 1000}s"
    assert defaults["HEADWATER_WAIT_LOCK"] == f"{standard.wait_lock_ms // 1000}s"
    minutes = standard.wait_concurrently_ms // 60_000
    assert defaults["HEADWATER_WAIT_CONCURRENTLY"] == f"{minutes}min"


def test_every_variable_of_libpq_that_may_stand_in_dotenv_is_listed() -> None:
    _, _, understood = section("docs/settings.md", "libpq's variables").partition("In `.env`")
    assert set(re.findall(r"PG[A-Z_]+", understood)) == set(LIBPQ_KEYWORDS)


_EMITTED = re.compile(
    r"""(?:rule=|_find\(\s*|return \(\s*|yield \(\s*)"([a-z]+(?:-[a-z0-9]+)*)","""
)


def test_every_rule_that_files_can_break_is_on_the_page_of_lint_or_seeds() -> None:
    sources = (path.read_text(encoding="utf-8") for path in ROOT.glob("lib/headwater/files/*.py"))
    emitted = {rule for source in sources for rule in _EMITTED.findall(source)}
    assert {"syntax", "bad-name", "not-utf-8", "name-clash", "copy-stdin"} <= emitted
    # That one is about where a file is built, and told by verify.
    pages = text_of("docs/lint.md") + text_of("docs/seeds.md")
    mentioned = set(re.findall(r"[a-z]+(?:-[a-z0-9]+)*", pages))
    mentioned |= set(BY_ID)
    assert emitted - {"server-wide"} <= mentioned


def test_the_readme_gives_as_many_tables_as_the_checks_require() -> None:
    shape = text_of("migrations/checks/shape.sql")
    required = [re.search(rf'"{schema} has (\d+) tables"', shape) for schema in ("kb", "core")]
    numbers = " + ".join(found[1] for found in required if found)
    assert f"{numbers} tables" in text_of("README.md")


def test_words_of_a_closed_set_are_all_listed() -> None:
    parts = "docs/json.md"
    cells = {row[0].strip("`"): codes(row[1]) for row in rows(section(parts, "A line"))}
    assert set(cells["outcome"]) == {outcome.value for outcome in Outcome}
    cells = {row[0].strip("`"): codes(row[1]) for row in rows(section(parts, "A change"))}
    assert set(cells["change"]) == {kind.value for kind in ChangeKind}
    cells = {row[0].strip("`"): codes(row[1]) for row in rows(section(parts, "A finding"))}
    assert set(cells["severity"]) == {severity.value for severity in Severity}
    assert set(cells["layer"]) == {layer.value for layer in Layer}
    cells = {row[0].strip("`"): codes(row[1]) for row in rows(section(parts, "An entry"))}
    assert set(cells["how"]) == {how.value for how in How}
    cells = {row[0].strip("`"): codes(row[1]) for row in rows(section(parts, "history.repair"))}
    assert set(cells["repair"]) == {repair.value for repair in Repair}
    states = [codes(row[0])[0] for row in rows(section("docs/migration-files.md", "History"))]
    assert {state.value for state in State} <= set(states)


# --- exit codes -------------------------------------------------------------------------------


def kinds_of_error(kind: type[HeadwaterError] = HeadwaterError) -> Iterator[type[HeadwaterError]]:
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from kinds_of_error(below)


def test_every_error_code_is_listed_with_its_exit_code() -> None:
    documented = {
        codes(row[0])[0]: int(row[1])
        for row in rows(section("docs/json.md", "Exit codes"))
        if row[0].startswith("`")
    }
    ends = {
        "bug": workflow.BUG,
        "interrupted": workflow.INTERRUPTED,
        "terminated": workflow.TERMINATED,
    }
    assert documented == {kind.code: kind.exit_code for kind in kinds_of_error()} | ends


def test_every_exit_code_is_listed() -> None:
    ours = {kind.exit_code for kind in kinds_of_error()}
    ours |= {0, 1, workflow.BUG, workflow.NOBODY_READS}
    ours |= {workflow.INTERRUPTED, workflow.TERMINATED}
    table = rows(section("docs/json.md", "Exit codes"))
    assert [int(row[0]) for row in table if row[0].isdigit()] == sorted(ours)


def test_the_two_ways_out_of_an_unknown_statement_stand_as_the_error_prints_them(
    settings: Settings,
) -> None:
    error = unknown("0002_fill", 1, settings)
    detail = "\n".join(f"  {line}" for line in error.detail.splitlines())
    printed = f"error: {error.message}\n{detail}\nhint: {error.hint}\n"
    assert printed in section("docs/migration-files.md", "When nobody can tell")


# --- JSON -------------------------------------------------------------------------------------

Fields = dict[str, str]


def fields(heading: str) -> Fields:
    """Give the documented fields of a part: name -> what the page says about it."""
    return {codes(row[0])[0]: row[1] for row in rows(section("docs/json.md", heading))}


PARTS = {
    "the-target": "The target",
    "a-result": "A result",
    "a-seed": "A seed",
    "a-file": "A file",
    "a-lock": "A lock",
    "an-entry": "An entry",
    "a-line": "A line",
    "a-change": "A change",
    "a-moment": "A moment",
    "an-answer": "An answer",
    "a-finding": "A finding",
}

# The parts that lint alone prints, where it runs files or knows a target.
PARTS_OF_LINT = {
    "a-trace": "A trace",
    "a-traced-statement": "A traced statement",
    "an-effect": "An effect",
    "a-dropped-object": "A dropped object",
    "the-weights": "The weights",
    "a-weight": "A weight",
}


def require_documented(form: dict[str, Any], documented: Fields, where: str) -> set[str]:
    """Require exactly the documented fields, and those of every part; give the parts seen."""
    assert set(form) == set(documented), where
    seen = set[str]()
    for name, description in documented.items():
        part = re.search(r"\(#([a-z-]+)\)", description)
        if not part or part[1] not in PARTS | PARTS_OF_LINT or form[name] is None:
            continue
        heading = (PARTS | PARTS_OF_LINT)[part[1]]
        inner = form[name] if isinstance(form[name], list) else [form[name]]
        for one in inner:
            seen |= {part[1]} | require_documented(one, fields(heading), f"{where}.{name}")
    return seen


def require_task(form: dict[str, Any], task: str, *, target: bool = False) -> set[str]:
    assert form["task"] == task
    always: Fields = {"ok": "", "task": ""}
    if target:
        always["target"] = "(#the-target)"
    return require_documented(form, always | fields(task), task)


def require_error(form: dict[str, Any], task: str, code: str) -> None:
    assert (form["ok"], form["task"], form["error"]["code"]) == (False, task, code)
    documented = fields("The error")
    findings = documented.pop("findings")
    if code in ("files", "history"):
        documented["findings"] = findings
    require_documented(form["error"], documented, f"error of {task}")
    assert set(form) == {"ok", "task", "error"}


FIRST = "create schema app;\ncreate table app.documents (id bigint primary key, title text);\n"
INDEX = "create index documents_title_idx on app.documents (title);\n"


def test_each_task_prints_the_fields_that_are_documented(tmp_path: Path, target: Target) -> None:
    project = make_project(tmp_path, {"20240101_first.sql": FIRST}, target)
    seen = require_task(project.invoke("migrate --json").json, "migrate", target=True)
    project.write({"migrations/20240201_index.sql": INDEX})
    for flag in ("--dry-run", "--trial"):
        form = project.invoke(f"migrate {flag} --json").json
        seen |= require_task(form, "migrate", target=True)
    require_task(project.invoke("wait --json").json, "wait", target=True)
    query(target, "alter table app.documents add column colour text")
    seen |= require_task(project.invoke("verify --json", code=1).json, "verify", target=True)
    seen |= require_task(project.invoke("blame app.documents --json").json, "blame", target=True)
    bisect = project.invoke("bisect 'select true' --json").json
    seen |= require_task(bisect, "bisect", target=True)
    seen |= require_task(project.invoke("lint --json").json, "lint", target=True)
    require_task(project.invoke("lint --text --json").json, "lint")
    require_task(project.invoke("lint.stats --json").json, "lint.stats")
    require_task(project.invoke("migration.lock --json").json, "migration.lock")
    redated = project.invoke("migration.redate 20240201_index --json").json
    require_task(redated, "migration.redate")
    version = redated["version"]
    (project.root / f"migrations/{version}.sql").rename(
        project.root / "migrations/20240201_index.sql"
    )
    project.invoke("migration.lock")
    Repository(project.root).git("init", "--quiet")
    for task in ("hooks.install", "hooks.remove"):
        require_task(project.invoke(f"{task} --json").json, task)
    seen |= require_task(project.invoke("onboard --json", code=1).json, "onboard", target=True)
    project.write(
        {"seeds/10_a.sql": "insert into app.documents values (1) on conflict do nothing;"}
    )
    seen |= require_task(project.invoke("reset --seed --json").json, "reset", target=True)
    onboarded = project.invoke("onboard --seed --json").json
    assert [seed["rows"] for seed in onboarded["seeds"]] == [0]
    require_task(onboarded, "onboard", target=True)
    project.write({"seeds/20_b.sql": "insert into app.documents values (1);"})
    require_error(project.invoke("reset --seed --json", code=3).json, "reset", "seed-failed")
    project.write({"migrations/20240201_index.down.sql": "drop index app.documents_title_idx;"})
    seen |= require_task(project.invoke("rollback --json").json, "rollback", target=True)
    project.invoke("migrate")
    require_task(project.invoke("migration.new add_owner --json").json, "migration.new")
    mark = project.invoke(f"db.disposable {target.database} --json").json
    require_task(mark, "db.disposable")
    project.write({"migrations/20240201_index.sql": f"-- edited\n{INDEX}"})
    seen |= require_task(project.invoke("status --json").json, "status", target=True)
    require_error(project.invoke("migrate --json", code=2).json, "migrate", "history")
    repaired = project.invoke("history.repair 20240201_index --json").json
    require_task(repaired, "history.repair", target=True)
    project.write({"migrations/20240301_more.sql": "create table app.more ();\n"})
    marked = project.invoke("history.mark 20240301_more --json").json
    require_task(marked, "history.mark", target=True)
    project.write({"migrations/20240401_most.sql": "create table app.most ();\n"})
    baseline = project.invoke("history.baseline 20240401_most --json", code=1).json
    seen |= require_task(baseline, "history.baseline", target=True)
    wrong = project.invoke("db.disposable another --json", code=2).json
    require_error(wrong, "db.disposable", "unsafe-target")
    assert seen >= set(PARTS), "a part was never seen"


def test_the_tasks_of_test_databases_print_the_fields_that_are_documented(
    tmp_path: Path, server: Target
) -> None:
    project = make_project(tmp_path, {"20240101_first.sql": FIRST})
    with tenant_on(server) as tenant:
        lent = project.invoke("db.test-url --json", TEST_DATABASE_URL=tenant.url).json
        require_task(lent, "db.test-url")
        for task, given in (("db.drop", lent["name"]), ("db.sweep", "")):
            done = project.invoke(f"{task} {given} --json", TEST_DATABASE_URL=tenant.url)
            require_task(done.json, task)


def test_lint_prints_the_parts_that_are_documented() -> None:
    documented = fields("lint")
    seen = require_documented(linted_json(EVERYTHING), documented, "lint")
    assert seen >= set(PARTS_OF_LINT), "a part was never seen"


@pytest.mark.skipif(
    importlib.util.find_spec("pg0") is None, reason="the private server is not installed"
)
def test_the_tasks_of_the_private_server_print_the_fields_that_are_documented(
    tmp_path: Path,
) -> None:
    project: Project = make_project(tmp_path, {"20240101_first.sql": FIRST})
    try:
        require_task(project.invoke("db.start --json").json, "db.start")
        require_task(project.invoke("db.stop --json").json, "db.stop")
    finally:
        destroyed = project.invoke("db.destroy --json").json
    require_task(destroyed, "db.destroy")
