"""Lint as a program of its own, as pre-commit runs it: on the files that it names."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from headwater import precommit
from headwater.files.lockfile import write_lock
from headwater.files.read import read_folder
from headwater.precommit import main
from tests.support import write_files

ROOT = Path(__file__).parent.parent
BROKEN = "selec 1;\n"
FILES = {
    "20260301_a.sql": "drop table app.t;\n",
    "20260302_b.sql": BROKEN,
    "20260303_c.sql": "create table app.t (id bigint);\n",
    "20260303_c.down.sql": BROKEN,
    "checks/good.sql": 'select true as "it holds";\n',
    "checks/bad.sql": BROKEN,
}

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with migrations, as the current one: pre-commit names files from there."""
    write_files(tmp_path / "migrations", FILES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: Captured, *names: str, code: int, options: tuple[str, ...] = ()) -> str:
    """Lint files of migrations/, require the exit code, and give what was printed."""
    assert main([*options, *(f"migrations/{name}" for name in names)]) == code
    printed = capsys.readouterr()
    return printed.err if code == 2 else printed.out


def places(printed: str) -> list[str]:
    return re.findall(r"^ *(\S+?):\d+:\d+: ", printed, re.MULTILINE)


def test_only_what_is_named_counts(capsys: Captured) -> None:
    printed = run(capsys, "20260303_c.sql", code=0)
    assert printed == "nothing found in 1 file\n"
    printed = run(capsys, "20260303_c.sql", "20260302_b.sql", code=1)
    assert places(printed) == ["migrations/20260302_b.sql"]
    assert printed.endswith("1 finding in 2 files: 1 error\n")


def test_what_undoes_a_migration_and_checks_are_linted_when_they_are_named(
    capsys: Captured,
) -> None:
    assert places(run(capsys, "20260303_c.down.sql", code=1)) == ["migrations/20260303_c.down.sql"]
    assert places(run(capsys, "checks/bad.sql", code=1)) == ["migrations/checks/bad.sql"]
    assert run(capsys, "checks/good.sql", code=0) == "nothing found in 1 file\n"


def test_a_warning_fails_when_it_is_asked_to(capsys: Captured) -> None:
    assert "ban-drop-table" in run(capsys, "20260301_a.sql", code=0)
    run(capsys, "20260301_a.sql", code=1, options=("--fail-on", "warning"))
    assert "no severity" in run(capsys, "20260301_a.sql", code=2, options=("--fail-on", "x"))


def test_a_file_is_judged_beside_the_others_of_its_folder(project: Path, capsys: Captured) -> None:
    write_files(project / "migrations", {"20260304_c.sql": "select 1;\n"})
    printed = run(capsys, "20260304_c.sql", code=1)
    assert "already used by 20260303_c.sql" in printed
    run(capsys, "20260303_c.sql", code=0)


def test_a_stale_lock_file_counts_whichever_file_is_named(project: Path, capsys: Captured) -> None:
    write_lock(read_folder(project / "migrations"))
    run(capsys, "20260303_c.sql", "migrations.lock", code=0)
    write_files(project / "migrations", {"20260304_d.sql": "select 1;\n"})
    for name in ("20260304_d.sql", "migrations.lock"):
        printed = run(capsys, name, code=1)
        assert places(printed) == ["migrations/migrations.lock"]
        assert "20260304_d.sql is not in it" in printed


def test_a_name_that_is_none_is_found_however_it_is_spelled(
    project: Path, capsys: Captured
) -> None:
    for name in ("Bad Name.sql", "20260304_d.SQL", "20260304_ü\n.sql"):
        write_files(project / "migrations", {name: "select 1;\n"})
        assert "bad-name" in run(capsys, name, code=1)


def test_files_of_several_folders_are_judged_in_each(project: Path, capsys: Captured) -> None:
    write_files(project / "b/migrations", {"20260301_a.sql": BROKEN, "20260302_b.sql": BROKEN})
    names = ["migrations/20260302_b.sql", "b/migrations/20260301_a.sql"]
    assert main(names) == 1
    assert sorted(places(capsys.readouterr().out)) == sorted(names)


def test_without_files_there_is_nothing_to_find(capsys: Captured) -> None:
    assert run(capsys, code=0) == "nothing to lint: no file counts\n"


@pytest.mark.parametrize("name", ["", "20260309_gone.sql", "notes.txt", "checks"])
def test_what_would_be_looked_at_in_vain_is_refused(
    project: Path, capsys: Captured, name: str
) -> None:
    (project / "migrations/notes.txt").touch()
    assert "hint: name the files themselves" in run(capsys, name, code=2)


def test_an_interruption_and_a_bug_do_not_look_like_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def failing(error: BaseException) -> None:
        def fail(_paths: object) -> None:
            raise error

        monkeypatch.setattr(precommit, "lint_files", fail)

    failing(KeyboardInterrupt())
    assert main([]) == 130
    failing(ZeroDivisionError("of ours"))
    assert main([]) == 70
    assert "ZeroDivisionError: of ours" in capsys.readouterr().err


def test_the_program_loads_no_driver_and_no_invoke() -> None:
    script = (
        "import sys; from headwater.precommit import main; code = main(sys.argv[1:]); "
        "print(sorted({'psycopg', 'invoke', 'rich', 'dotenv'} & set(sys.modules))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "migrations/20260303_c.sql"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "nothing found in 1 file\n[]\n")


# --- what pre-commit is told ------------------------------------------------------------------


def test_the_hook_of_pre_commit_runs_a_program_that_is_installed() -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program = Path(sysconfig.get_path("scripts")) / hook["entry"]
    done = subprocess.run([program, "migrations/20260302_b.sql"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert hook["language"] == "python"
    assert hook["require_serial"] is True


def test_the_hook_of_pre_commit_is_given_what_a_folder_is_made_of() -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    for name in ("migrations/20260301_a.sql", "db/migrations/0001_a.down.sql"):
        assert re.search(hook["files"], name)
    for name in ("migrations/checks/a.sql", "migrations/migrations.lock"):
        assert re.search(hook["files"], name)
    for name in ("a.sql", "migrations/README.md", "old_migrations/a.sql", "migrations/x/a.sql"):
        assert not re.search(hook["files"], name)
