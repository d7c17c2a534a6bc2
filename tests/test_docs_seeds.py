"""The page of seeds is run: its files are seeded, proved and broken as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from headwater.model import Target
from tests.projects import Project, make_project
from tests.support import query, value
from tests.tenants import tenant_on

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/seeds.md").read_text(encoding="utf-8")

SCHEMA = """\
create schema app;
create table app.people (id uuid primary key, name text not null);
create table app.tags (id uuid primary key, name text not null);
create table app.settings (
    key text primary key, value text not null, updated_at timestamptz not null default now()
);
create function app.touch() returns trigger language plpgsql as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end $$;
create trigger touch before update on app.settings for each row execute function app.touch();
"""


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [block for named, block in fenced if named == language]


def files_of_the_page() -> dict[str, str]:
    """Give the seeds that the page shows, by the names in their first lines."""
    found = dict[str, str]()
    for block in (*blocks("sql"), *blocks("python")):
        if named := re.match(r"(?:--|#) (seeds/\S+)\n", block):
            found[named[1]] = block
    assert list(found) == ["seeds/10_people.sql", "seeds/20_tags.py"]
    return found | {"seeds/_tags.csv": "name\nred\ngreen\n"}


def shape(text: str) -> list[str]:
    return [re.sub(r"\d+", "0", line) for line in text.splitlines()]


def seeded_project(root: Path, target: Target) -> Project:
    project = make_project(root, {"0001_init.sql": SCHEMA}, target)
    project.write(files_of_the_page())
    return project


def test_what_the_page_shows_is_what_happens(tmp_path: Path, target: Target) -> None:
    project = seeded_project(tmp_path, target)
    [recorded] = blocks("console")
    command, *expected = recorded.splitlines()
    ended = project.invoke(command.removeprefix("$ invoke "))
    happened = [line for line in shape(ended.err + ended.out) if not line.startswith("target")]
    assert happened == shape("\n".join(expected))
    assert value(target, "select count(*) from app.people") == 2
    assert [row[0] for row in query(target, "select name from app.tags order by 1")] == [
        "green",
        "red",
    ]
    project.invoke("verify").said("2 seeds fit; a second run changes nothing")


def test_without_its_where_the_page_says_what_verify_finds(tmp_path: Path, target: Target) -> None:
    project = seeded_project(tmp_path, target)
    sql = files_of_the_page()["seeds/10_people.sql"]
    without = sql.replace("\n    where s.value is distinct from excluded.value;", ";")
    assert without != sql
    project.write({"seeds/10_people.sql": without})
    project.invoke("migrate")
    [shown] = [block for block in blocks("") if "seed-repeat" in block]
    ended = project.invoke("verify", code=1)
    assert set(shown.splitlines()) <= set(ended.out.splitlines())


def test_the_example_for_tests_passes(tmp_path: Path, server: Target) -> None:
    with tenant_on(server) as tenant:
        project = make_project(tmp_path, {"0001_init.sql": SCHEMA})
        [example] = [block for block in blocks("python") if "pytest.mark.seeded" in block]
        project.write(files_of_the_page() | {"tests/test_people.py": example})
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"],
            cwd=tmp_path,
            env=project.environment() | {"TEST_DATABASE_URL": tenant.url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0
