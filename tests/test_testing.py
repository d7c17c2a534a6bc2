"""docs/testing.md is so: each example is run, as a reader would run it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater import pytest_plugin
from headwater.files.read import read_folder
from headwater.postgres.installation import installation
from headwater.postgres.psql import url_of
from headwater.settings import load_settings
from headwater.testing import MissingContextWarning, as_application
from headwater.testing.servers import server_for_tests
from tests.projects import ROOT, Project, copy_of_the_checkout
from tests.support import value
from tests.test_docs import codes, rows, section, text_of
from tests.test_readme import INSTALL, recorded, shape

PAGE = "docs/testing.md"

needs_the_private_server = pytest.mark.skipif(
    importlib.util.find_spec("pg0") is None, reason="the private server is not installed"
)


# --- the examples -----------------------------------------------------------------------------


_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, page: str = PAGE) -> list[str]:
    return [text for name, text in _FENCED.findall(text_of(page)) if name == language]


def examples(language: str) -> dict[str, str]:
    """Give each example by the file that it says it is, in its first or second line."""
    found = {}
    for block in blocks(language):
        name = re.match(r"(?:#!.*\n)?(?:#|//) (\S+)\n", block)
        assert name, "an example says at its head which file it is"
        found[name[1]] = block
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Generator[Project]:
    """A copy of the checkout with all examples in it, and the programs that they call."""
    project = copy_of_the_checkout(tmp_path_factory.mktemp("project"))
    for language in ("python", "sh", "javascript"):
        project.write(examples(language))
    for folder, program, command in (
        ("bin", "invoke", f'"{sys.executable}" -m invoke "$@"'),
        (".venv/bin", "pytest", f'"{sys.executable}" -m pytest "$@"'),
        ("bin", "psql", own_psql()),
    ):
        script = project.root / folder / program
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\nexec {command}\n")
        script.chmod(0o755)
    yield project
    project.invoke("db.destroy")


def own_psql() -> str:
    """Give the psql that comes with the private server, or else the system's."""
    if importlib.util.find_spec("pg0") is None:
        return f'{shutil.which("psql") or "false"} "$@"'
    programs = installation()
    return f'env LD_LIBRARY_PATH={programs.folder / "lib"} {programs.program("psql")} "$@"'


def run(project: Project, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; its own programs come first."""
    path = {"PATH": f"{project.root / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        command,
        cwd=project.root,
        env=project.environment() | path | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


# --- with Python ------------------------------------------------------------------------------


@pytest.mark.slow
@needs_the_private_server
def test_every_example_in_python_passes_as_ci_runs_it(project: Project) -> None:
    [line] = {line for lines in lines_of_jobs().values() for line in lines} - {INSTALL}
    ended = run(project, "sh", "-c", line)
    count = sum(text.count("def test_") for text in examples("python").values())
    assert f"{count} passed" in ended.stdout, ended.stdout
    assert ended.returncode == 0


def test_the_example_of_the_readme_is_one_of_the_page() -> None:
    [example] = blocks("python", "README.md")
    assert example in examples("python")["tests/test_organizations.py"]


def test_the_version_of_the_examples_is_a_file_that_there_is() -> None:
    versions = set(re.findall(r"\b2\d{7}_\w+", text_of(PAGE)))
    assert versions <= {m.version for m in read_folder(ROOT / "migrations").migrations}


# --- in other languages -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def lender(project: Project) -> str:
    """The URL of the server of this checkout's tests: the examples run on such a one as well."""
    return url_of(server_for_tests(load_settings(ROOT)))


def is_there(database_url: str, lender: str) -> bool:
    name = database_url.rpartition("/")[2].partition("?")[0]
    return bool(value(lender, f"select count(*) from pg_database where datname = '{name}'"))


def test_the_example_for_a_shell_gives_a_suite_its_database_and_drops_it(
    project: Project, lender: str
) -> None:
    asking = 'echo "URL $DATABASE_URL"; psql -XqAt -d "$DATABASE_URL" -c "select name from kb.orgs"'
    ended = run(
        project, "sh", "e2e/run.sh", "sh", "-c", f"{asking}; exit 7", TEST_DATABASE_URL=lender
    )
    assert ended.returncode == 7, ended.stdout
    assert "\nRivers\n" in ended.stdout
    [url] = re.findall("URL (.*)", ended.stdout)
    assert not is_there(url, lender)


def test_the_example_for_a_shell_drops_the_database_when_it_is_terminated(
    project: Project, lender: str
) -> None:
    asking = 'echo "URL $DATABASE_URL"; kill -TERM $PPID'
    ended = run(project, "sh", "e2e/run.sh", "sh", "-c", asking, TEST_DATABASE_URL=lender)
    assert ended.returncode == 143, ended.stdout
    [url] = re.findall("URL (.*)", ended.stdout)
    assert not is_there(url, lender)


@pytest.mark.skipif(
    shutil.which("node") is None, reason="there is no node: the example in JavaScript is not run"
)
def test_the_example_for_node_passes(project: Project, lender: str) -> None:
    [name] = examples("javascript")
    ended = run(project, "node", "--test", name, TEST_DATABASE_URL=lender)
    assert re.search(r"^\W* pass 1$", ended.stdout, re.MULTILINE), ended.stdout
    assert ended.returncode == 0


# --- evidence ---------------------------------------------------------------------------------

_FAIL = """\
def test_one(connection):
    raise AssertionError("one")


def test_another(rolled_back_connection):
    rolled_back_connection.execute("insert into kb.orgs (name) values ('Rivers')")
    raise AssertionError("another")
"""


@needs_the_private_server
def test_evidence_is_told_looked_into_and_swept_as_the_page_prints_it(project: Project) -> None:
    [printed] = [block for block in blocks("") if block.startswith("the database of this test")]
    project.write({"failing/test_fails.py": _FAIL})
    ended = run(project, ".venv/bin/pytest", "-p", "no:randomly", "failing")
    told = re.findall(r"^the database of this test is kept.*\n.*\n.*\n", ended.stdout, re.MULTILINE)
    assert [form(text) for text in told] == [form(printed)] * 2, ended.stdout
    look = re.findall("invoke db.psql --test (.*)", told[1])[0]
    found = project.invoke(f"db.psql --test {look} --command 'select name from kb.orgs'")
    found.said("Rivers")
    [console] = blocks("console")
    for command, output in recorded(console):
        assert shape(run(project, "sh", "-c", command).stdout) == shape(output), command


def form(told: str) -> str:
    """Give what is told without what differs from run to run."""
    shown = re.sub(r"postgres:[^@]+@", "postgres:SECRET@", told)
    return re.sub(r"headwater_test_[0-9a-f_]+|:\d+/", "…", shown)


@pytest.fixture
def told(rolled_back_connection: Any) -> str:
    """What a block says that forgets its context."""
    with (
        pytest.warns(MissingContextWarning) as warned,
        as_application(rolled_back_connection),
    ):
        rolled_back_connection.execute("select id from kb.projects").fetchall()
    return f"MissingContextWarning: {warned[0].message}"


def test_what_a_forgotten_context_says_stands_as_it_is_printed(told: str) -> None:
    [printed] = [block for block in blocks("") if block.startswith("MissingContextWarning")]
    assert " ".join(printed.split()) == told


# --- tables -----------------------------------------------------------------------------------


def test_every_fixture_is_listed() -> None:
    listed = [name for row in rows(section(PAGE, "Fixtures")) for name in codes(row[0])]
    ours = {
        name
        for name, found in vars(pytest_plugin).items()
        if type(found).__name__ == "FixtureFunctionDefinition"
    }
    assert "database" in ours
    # That one is for fixtures of this repository: what it takes is no promise.
    assert ours - {"_database_supply"} <= set(listed)


def test_every_option_of_pytest_is_listed_with_its_default(pytestconfig: pytest.Config) -> None:
    listed = {codes(row[0])[0]: row for row in rows(section(PAGE, "Settings of pytest"))}
    assert codes(listed["headwater_ahead"][1]) == [pytestconfig.getini("headwater_ahead")]
    assert tuple(codes(listed["--headwater-keep"][2])) == pytest_plugin.KEEP
    assert codes(listed["--headwater-keep"][1]) == [pytest_plugin.KEEP[0]]
    assert pytestconfig.getini("headwater_root") == ""
    assert pytestconfig.getini("headwater_seeded") is False
    known = {name for name in pytestconfig._parser._inidict if name.startswith("headwater")}
    assert known | {"--headwater-keep"} == set(listed)


# --- recipes ----------------------------------------------------------------------------------


def github() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(examples("yaml")[".github/workflows/tests.yml"])["jobs"]
    return found


def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(examples("yaml")[".gitlab-ci.yml"])
    return found


def lines_of_jobs() -> dict[str, list[str]]:
    """Give the lines that the shell of each job is given."""
    lines = {
        f"GitHub: {name}": [step["run"] for step in job["steps"] if "run" in step]
        for name, job in github().items()
    }
    before = gitlab()["default"]["before_script"]
    return lines | {
        f"GitLab: {name}": [*before, *job["script"]]
        for name, job in gitlab().items()
        if name != "default"
    }


def test_every_job_installs_and_runs_the_tests() -> None:
    assert len(lines_of_jobs()) == 4
    for lines in lines_of_jobs().values():
        assert lines[0] == INSTALL
        assert len(lines) == 2


def test_the_recipes_for_a_service_name_the_server_that_they_start(tmp_path: Path) -> None:
    of_github, of_gitlab = github()["service"], gitlab()["service"]
    postgres = of_github["services"]["postgres"]
    [service] = of_gitlab["services"]
    assert postgres["image"] == service["name"]
    assert re.fullmatch(r"pgvector/pgvector:\d+\.\d+\.\d+-pg\d+", service["name"])
    port = postgres["ports"][0].partition(":")[0]
    for environment, password, place in (
        (of_github["env"], postgres["env"]["POSTGRES_PASSWORD"], f"localhost:{port}"),
        (of_gitlab["variables"], of_gitlab["variables"]["POSTGRES_PASSWORD"], service["alias"]),
    ):
        url = environment["TEST_DATABASE_URL"]
        assert url == f"postgresql://postgres:{password}@{place}/postgres"
        chosen = load_settings(tmp_path, environ={"TEST_DATABASE_URL": url}).test
        assert chosen
        assert chosen.url == url
