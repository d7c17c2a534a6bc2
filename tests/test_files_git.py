"""What git knows: which files a base holds, and clear words for everything that it cannot say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headwater.errors import SettingsError
from headwater.files.git import hooks_of, new_since, read_base
from headwater.files.text import checksum
from tests.repositories import Repository, cloned, made

ONE, TWO, THREE = "20260301_one", "20260302_two", "20260303_three"


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """A repository whose main holds one migration."""
    repository = made(tmp_path / "origin")
    repository.write(_20260301_one="select 1;\n")
    repository.commit()
    return repository


@pytest.fixture
def clone(origin: Repository, tmp_path: Path) -> Repository:
    """A clone of it, on a branch."""
    repository = cloned(origin, tmp_path / "clone")
    repository.git("checkout", "--quiet", "-b", "work")
    return repository


def since(repository: Repository, ref: str = "origin/main") -> set[str]:
    return set(new_since(repository.root, repository.migrations, ref))


def refusal(repository: Repository, ref: str = "origin/main") -> SettingsError:
    """Ask for a base that cannot be had."""
    with pytest.raises(SettingsError) as caught:
        read_base(repository.root, repository.migrations, ref)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


# --- what is new ------------------------------------------------------------------------------


def test_a_file_is_new_whether_it_is_committed_staged_or_neither(clone: Repository) -> None:
    assert since(clone) == set()
    clone.write(_20260302_two="select 2;\n")
    assert since(clone) == {TWO}
    clone.git("add", "--all")
    assert since(clone) == {TWO}
    clone.commit()
    assert since(clone) == {TWO}


def test_what_the_base_took_in_meanwhile_is_not_missed_and_not_new(
    origin: Repository, clone: Repository
) -> None:
    origin.write(_20260302_two="select 2;\n")
    origin.commit()
    clone.git("fetch", "--quiet")
    clone.write(_20260303_three="select 3;\n")
    base = read_base(clone.root, clone.migrations, "origin/main")
    assert set(base.tip) == {ONE, TWO}
    assert set(base.fork) == {ONE}
    assert since(clone) == {THREE}


def test_what_the_base_has_given_up_is_not_new_on_a_branch_that_still_has_it(
    origin: Repository, clone: Repository
) -> None:
    origin.remove(ONE)
    origin.commit()
    clone.git("fetch", "--quiet")
    assert since(clone) == set()


def test_only_migrations_in_the_folder_itself_are_of_a_base(
    origin: Repository, clone: Repository
) -> None:
    for name in (f"{ONE}.down.sql", "checks/a.sql", "notes.sql", "migrations.lock"):
        (origin.migrations / name).parent.mkdir(exist_ok=True)
        (origin.migrations / name).write_text("select 1;\n")
    (origin.migrations / f"{TWO}.sql").symlink_to(f"{ONE}.sql")
    origin.commit()
    clone.git("fetch", "--quiet")
    assert set(read_base(clone.root, clone.migrations, "origin/main").tip) == {ONE}


def test_a_base_without_the_folder_holds_nothing(tmp_path: Path) -> None:
    repository = made(tmp_path / "first")
    repository.commit()
    repository.write(_20260301_one="select 1;\n")
    assert since(repository, "main") == {ONE}


def test_before_the_first_commit_everything_of_another_branch_is_the_base(
    clone: Repository,
) -> None:
    clone.git("checkout", "--quiet", "--orphan", "anew")
    clone.write(_20260302_two="select 2;\n")
    assert since(clone) == {TWO}


def test_without_a_common_commit_nothing_counts_as_where_the_branch_left(
    clone: Repository,
) -> None:
    clone.git("checkout", "--quiet", "--orphan", "anew")
    clone.commit("anew")
    base = read_base(clone.root, clone.migrations, "origin/main")
    assert (set(base.tip), set(base.fork)) == ({ONE}, set())


def test_texts_of_a_base_are_normalised_as_files_are(origin: Repository, clone: Repository) -> None:
    (origin.migrations / f"{ONE}.sql").write_bytes(b"\xef\xbb\xbfselect 1;\r\n")
    origin.commit()
    clone.git("fetch", "--quiet")
    base = read_base(clone.root, clone.migrations, "origin/main")
    assert base.tip == {ONE: checksum("select 1;\n")}


def test_a_base_file_that_could_never_run_is_not_of_it(
    origin: Repository, clone: Repository
) -> None:
    (origin.migrations / f"{TWO}.sql").write_bytes(b"select '\xff';\n")
    origin.commit()
    clone.git("fetch", "--quiet")
    assert set(read_base(clone.root, clone.migrations, "origin/main").tip) == {ONE}


def test_a_tag_a_commit_and_a_local_branch_are_bases_as_well(clone: Repository) -> None:
    clone.git("tag", "v1")
    clone.write(_20260302_two="select 2;\n")
    clone.commit()
    for ref in ("v1", "HEAD~1", "main", clone.git("rev-parse", "v1").strip()):
        assert since(clone, ref) == {TWO}


# --- other places -----------------------------------------------------------------------------


def test_what_a_hook_s_environment_names_leads_nowhere_else(
    clone: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made(tmp_path / "other")
    clone.write(_20260302_two="select 2;\n")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.root / ".git/objects"))
    assert since(clone) == {TWO}


def test_a_second_work_tree_and_a_submodule_are_asked_themselves(
    origin: Repository, clone: Repository, tmp_path: Path
) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "beside", str(tmp_path / "beside"))
    beside = Repository(tmp_path / "beside")
    beside.write(_20260302_two="select 2;\n")
    assert (since(beside), since(clone)) == ({TWO}, set())
    above = made(tmp_path / "above")
    above.git(
        *("-c", "protocol.file.allow=always", "submodule", "--quiet", "add"),
        f"file://{origin.root}",
        "db",
    )
    within = Repository(above.root / "db")
    within.write(_20260303_three="select 3;\n")
    assert new_since(above.root, within.migrations, "origin/main") == {THREE}


def test_a_project_below_the_top_has_its_own_migrations(tmp_path: Path) -> None:
    top = made(tmp_path / "top")
    project = Repository(top.root / "services/a b")
    project.write(_20260301_one="select 1;\n")
    top.write(_20260302_two="select 2;\n")
    top.commit()
    project.write(_20260303_three="select 3;\n")
    assert set(read_base(project.root, project.migrations, "main").tip) == {ONE}
    assert since(project, "main") == {THREE}


# --- what git cannot say ----------------------------------------------------------------------


def test_an_unknown_branch_of_a_remote_says_how_to_fetch_it(
    origin: Repository, tmp_path: Path
) -> None:
    origin.git("checkout", "--quiet", "-b", "work")
    origin.commit()
    single = cloned(origin, tmp_path / "single", "--single-branch", "--branch", "work")
    error = refusal(single)
    assert error.message == "git does not know 'origin/main'"
    assert error.hint == "git fetch origin main:refs/remotes/origin/main"
    single.git(*error.hint.split()[1:])
    assert since(single) == set()


def test_an_unknown_name_a_flag_and_an_empty_name_are_no_base(clone: Repository) -> None:
    assert "git branch --all" in refusal(clone, "no-such").hint
    assert "'--all'" in refusal(clone, "--all").message
    assert "--base wants" in refusal(clone, "").message


def test_a_shallow_clone_that_lacks_the_base_says_so(origin: Repository, tmp_path: Path) -> None:
    origin.git("checkout", "--quiet", "-b", "work")
    origin.commit()
    shallow = cloned(origin, tmp_path / "shallow", "--depth", "1", "--branch", "work")
    assert "shallow" in refusal(shallow).detail


def test_a_shallow_clone_that_does_not_reach_back_is_no_ground_to_judge_on(
    origin: Repository, tmp_path: Path
) -> None:
    origin.git("checkout", "--quiet", "-b", "work")
    origin.write(_20260302_two="select 2;\n")
    origin.commit()
    origin.git("checkout", "--quiet", "main")
    origin.write(_20260303_three="select 3;\n")
    origin.commit()
    shallow = cloned(
        origin, tmp_path / "shallow", "--depth", "1", "--no-single-branch", "--branch", "work"
    )
    error = refusal(shallow)
    assert "does not reach back" in error.message
    assert "git fetch --unshallow" in error.hint
    shallow.git("fetch", "--quiet", "--unshallow")
    assert since(shallow) == {TWO}


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    lone = Repository(tmp_path / "lone")
    lone.write(_20260301_one="select 1;\n")
    error = refusal(lone)
    assert "not a git repository" in error.detail
    assert "clone" in error.hint


def test_a_folder_of_migrations_outside_of_the_repository_is_refused(
    clone: Repository, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(clone.migrations, outside)
    with pytest.raises(SettingsError, match="outside of the repository") as caught:
        new_since(clone.root, outside, "origin/main")
    assert caught.value.detail == str(outside)


def test_a_repository_of_somebody_else_says_how_to_trust_it(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    error = refusal(clone)
    assert error.hint.startswith("git config --global --add safe.directory ")
    trusted = error.hint.rpartition(" ")[2]
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", trusted)
    assert since(clone) == set()


def test_without_git_its_lack_is_said(
    clone: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(clone).message == "git cannot be run"


def test_a_base_whose_texts_are_not_here_says_how_to_get_them(origin: Repository) -> None:
    blob = origin.git("rev-parse", f"HEAD:migrations/{ONE}.sql").strip()
    (origin.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    error = refusal(origin, "main")
    assert (error.message, error.detail) == ("git lacks a file of the base", f"{blob} missing")
    assert error.hint.startswith("git fetch --refetch")


def test_a_repository_that_is_broken_is_told_in_git_s_own_words(origin: Repository) -> None:
    tree = origin.git("rev-parse", "HEAD:migrations").strip()
    (origin.root / ".git/objects" / tree[:2] / tree[2:]).unlink()
    error = refusal(origin, "main")
    assert error.message.startswith("git ls-tree failed in ")
    assert tree in error.detail


# --- hooks ------------------------------------------------------------------------------------


def test_hooks_are_where_git_looks_for_them(clone: Repository, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "beside", str(tmp_path / "beside"))
    below = clone.root / "services/a"
    below.mkdir(parents=True)
    own = clone.root / ".git/hooks"
    for root, project in ((clone.root, "."), (below, "services/a"), (tmp_path / "beside", ".")):
        found = hooks_of(root)
        assert (found.folder.resolve(), found.project) == (own.resolve(), project)
    clone.git("config", "core.hooksPath", ".githooks")
    assert hooks_of(below).folder == clone.root / ".githooks"


def test_a_folder_of_hooks_for_all_repositories_is_left_alone(
    clone: Repository, tmp_path: Path
) -> None:
    clone.git("config", "core.hooksPath", str(tmp_path / "for-all"))
    with pytest.raises(SettingsError, match="other repositories may share") as caught:
        hooks_of(clone.root)
    assert caught.value.hint.startswith("git config --local core.hooksPath ")


def test_hooks_of_a_folder_without_git_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="git cannot be asked"):
        hooks_of(tmp_path)
