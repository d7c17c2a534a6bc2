"""The hook before a push: it is run by git, keeps what was there, and goes without a trace."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.errors import FilesError, HeadwaterError
from headwater.files.hooks import HOOK, install_hook, remove_hook
from tests.repositories import Repository, cloned, made

LOG = "calls.log"

# Notes its arguments and how much it was told on its standard input; fails where it is told to.
INVOKE = """\
#!/bin/sh
echo "$(basename "$PWD"): $* [$(cat)]" >>"$CALLS"
if [ "$1" = "$FAILING" ]; then exit 3; fi
"""


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    """A clone of an origin, with a project in it and an environment that only notes its calls."""
    origin = made(tmp_path / "origin")
    (origin.root / "tasks.py").write_text("")
    (origin.root / ".gitignore").write_text(".venv/\n")
    origin.commit("first")
    origin.git("config", "receive.denyCurrentBranch", "ignore")
    repository = cloned(origin, tmp_path / "clone")
    environment_in(repository.root)
    return repository


def environment_in(root: Path) -> Path:
    """Put a program into the place of a project's invoke."""
    program = root / ".venv/bin/invoke"
    program.parent.mkdir(parents=True)
    program.write_text(INVOKE)
    program.chmod(0o755)
    return program


def install(repository: Repository, folder: str = ".") -> Path:
    root = repository.root / folder
    outcome = install_hook(root, invoke=root / ".venv/bin/invoke")
    assert os.access(outcome.path, os.X_OK)
    return outcome.path


def push(
    repository: Repository, *arguments: str, code: int = 0, failing: str = "", **environment: str
) -> list[str]:
    """Push a new commit, and give the calls of invoke that the hook has made for it."""
    log = repository.root.parent / LOG
    log.unlink(missing_ok=True)
    repository.commit("to push")
    target = arguments or ("origin", "HEAD")
    environment |= {"CALLS": str(log), "FAILING": failing}
    repository.git("push", "--quiet", *target, code=code, **environment)
    return log.read_text().splitlines() if log.exists() else []


def hook_with(repository: Repository, text: str | bytes, *, mode: int = 0o755) -> Path:
    path = repository.root / ".git/hooks" / HOOK
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def state(folder: Path) -> dict[str, tuple[bytes | str, int]]:
    """Give everything in a folder of hooks: bytes, or where a link leads; and the mode."""
    return {
        path.name: (
            str(path.readlink()) if path.is_symlink() else path.read_bytes(),
            stat.S_IMODE(path.lstat().st_mode),
        )
        for path in folder.iterdir()
        if not path.name.endswith(".sample")
    }


# --- what it does -----------------------------------------------------------------------------


def test_a_push_lints_what_is_new_and_then_verifies(clone: Repository) -> None:
    install(clone)
    assert push(clone) == ["clone: lint --base origin/main []", "clone: verify []"]


@pytest.mark.parametrize(("failing", "calls"), [("lint", 1), ("verify", 2)])
def test_what_fails_stops_the_push(clone: Repository, failing: str, calls: int) -> None:
    install(clone)
    before = clone.git("ls-remote", "origin")
    assert len(push(clone, code=1, failing=failing)) == calls
    assert clone.git("ls-remote", "origin") == before
    push(clone, "--no-verify", "origin", "HEAD", failing=failing)
    assert clone.git("ls-remote", "origin") != before


@pytest.mark.parametrize("failing", ["lint", "verify"])
@pytest.mark.parametrize("based", [True, False])
def test_the_hook_ends_as_what_failed_did_and_says_how_to_go_without_it(
    clone: Repository, failing: str, based: bool
) -> None:
    path = install(clone)
    if not based:
        clone.git("checkout", "--quiet", "--orphan", "other")
        clone.git("remote", "remove", "origin")
    done = subprocess.run(
        [path, "origin", "url"],
        cwd=clone.root,
        env=os.environ | {"CALLS": os.devnull, "FAILING": failing},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    *before, last = done.stderr.splitlines()
    assert (done.returncode, len(before)) == (3, 0 if based else 1)
    assert last == (
        f"headwater: the push is stopped: {failing} found something above; "
        "for once without the hook: git push --no-verify"
    )


def test_the_base_is_what_the_branch_follows_unless_that_is_its_own_copy(
    clone: Repository,
) -> None:
    install(clone)
    clone.git("push", "--quiet", "--no-verify", "origin", "main:release", "main:work/a")
    clone.git("fetch", "--quiet")
    for branch, follows, base in (
        ("fix", "origin/release", "origin/release"),
        ("work/a", "origin/work/a", "origin/main"),
    ):
        clone.git("checkout", "--quiet", "-b", branch, follows)
        assert push(clone)[0] == f"clone: lint --base {base} []"
    clone.git("checkout", "--quiet", "-b", "lone", "--no-track")
    assert push(clone)[0] == "clone: lint --base origin/main []"
    clone.git("remote", "set-head", "origin", "--delete")
    assert push(clone)[0] == "clone: lint []"
    clone.git("checkout", "--quiet", "work/a")
    assert push(clone)[0] == "clone: lint --base origin/work/a []"
    clone.git("checkout", "--quiet", "--detach")
    assert push(clone, "origin", "HEAD:refs/heads/x")[0] == "clone: lint []"


def test_a_missing_environment_falls_back_to_path_and_is_told_where_there_is_none(
    clone: Repository, tmp_path: Path
) -> None:
    program = clone.root / ".venv/bin/invoke"
    install(clone)
    beside = tmp_path / "bin"
    beside.mkdir()
    program.rename(beside / "invoke")
    path = f"{beside}:{os.environ['PATH']}"
    assert len(push(clone, PATH=path)) == 2
    (beside / "invoke").unlink()
    clone.commit()
    # Only git and what it needs: another invoke may be on the PATH of who runs the tests.
    without = ":".join(
        p for p in os.environ["PATH"].split(":") if not (Path(p) / "invoke").exists()
    )
    said = clone.git("push", "--quiet", "origin", "HEAD", code=1, PATH=without)
    assert ".venv/bin/invoke is not there, and no invoke is on PATH: the push is stopped" in said
    assert "invoke hooks.install" in said


def test_a_branch_without_the_project_is_pushed_unchecked_and_says_so(clone: Repository) -> None:
    install(clone)
    clone.git("rm", "--quiet", "tasks.py")
    clone.commit()
    assert "nothing is checked" in clone.git("push", "--quiet", "origin", "HEAD")


def test_each_work_tree_is_checked_with_its_own_environment(
    clone: Repository, tmp_path: Path
) -> None:
    install(clone)
    clone.git("worktree", "add", "--quiet", "-b", "beside", str(tmp_path / "beside"))
    beside = Repository(tmp_path / "beside")
    environment_in(beside.root)
    assert install_hook(beside.root, invoke=beside.root / ".venv/bin/invoke").changed is False
    assert push(beside) == ["beside: lint --base origin/main []", "beside: verify []"]


def test_several_projects_of_a_repository_are_checked_each_and_leave_each_alone(
    clone: Repository,
) -> None:
    before = state(clone.root / ".git/hooks")
    for name in ("services/a", "services/it's b"):
        (clone.root / name).mkdir(parents=True)
        (clone.root / name / "tasks.py").write_text("")
        environment_in(clone.root / name)
        install(clone, name)
    clone.commit()
    assert [call.split(" ")[0] for call in push(clone)] == ["a:", "a:", "it's", "it's"]
    assert remove_hook(clone.root).changed is False
    assert remove_hook(clone.root / "services/a").changed
    assert [call.split(" ")[0] for call in push(clone)] == ["it's", "it's"]
    assert remove_hook(clone.root / "services/it's b").changed
    assert state(clone.root / ".git/hooks") == before


def test_the_default_is_the_invoke_of_the_environment_that_installs(clone: Repository) -> None:
    text = install_hook(clone.root).path.read_text()
    assert str(Path(sys.executable).parent / "invoke") in text


# --- what was there ---------------------------------------------------------------------------


def test_installing_twice_changes_nothing_and_removing_leaves_nothing(clone: Repository) -> None:
    before = state(clone.root / ".git/hooks")
    path = install(clone)
    once = state(path.parent)
    outcome = install_hook(clone.root, invoke=clone.root / ".venv/bin/invoke")
    assert (outcome.changed, outcome.note, state(path.parent)) == (False, "", once)
    outcome = remove_hook(clone.root)
    assert (outcome.path, outcome.changed) == (path, True)
    assert state(path.parent) == before
    assert remove_hook(clone.root).changed is False


def test_a_repository_made_without_a_folder_of_hooks_gets_one(tmp_path: Path) -> None:
    repository = made(tmp_path / "bare bones")
    for each in (repository.root / ".git/hooks").iterdir():
        each.unlink()
    (repository.root / ".git/hooks").rmdir()
    assert install(repository).is_file()


# What pre-commit writes ends in exec; git-lfs reads the input; others are no scripts of a shell.
SHELL = "#!/usr/bin/env bash\nset -eu\n# File generated by pre-commit\nexec sh -c 'cat >theirs' x"
OTHERS: dict[str, str | bytes] = {
    "a shell's": SHELL,
    "of another shell": '#!/bin/sh -e\nread line\necho "$1 $line" >theirs\n',
    "python's": "#!/usr/bin/env python3\nimport sys\nopen('theirs', 'w').write(sys.stdin.read())\n",
    "without a first line": "cat >theirs",
    "without a line end": "#!/bin/sh",
    "only a first line": "#!/bin/sh\n",
    "empty": "",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_hook_of_somebody_else_is_run_as_before_and_left_as_it_was(
    clone: Repository, kind: str
) -> None:
    path = hook_with(clone, OTHERS[kind])
    before = state(path.parent)
    outcome = install_hook(clone.root, invoke=clone.root / ".venv/bin/invoke")
    assert outcome.changed
    assert "another hook is there, and is kept" in outcome.note
    assert install_hook(clone.root, invoke=clone.root / ".venv/bin/invoke").changed is False
    assert len(push(clone)) == 2
    if "theirs" in str(OTHERS[kind]):
        assert "refs/heads/main" in (clone.root / "theirs").read_text()
    assert remove_hook(clone.root).changed
    assert state(path.parent) == before


def test_a_hook_of_somebody_else_still_stops_the_push(clone: Repository) -> None:
    for text in ("#!/bin/sh\nexit 7\n", "#!/usr/bin/env python3\nraise SystemExit(7)\n"):
        hook_with(clone, text)
        install(clone)
        assert len(push(clone, code=1)) == 2
        remove_hook(clone.root)


def test_a_link_and_a_hook_that_is_switched_off_stay_what_they_are(clone: Repository) -> None:
    script = clone.root / "their-hook"
    script.write_text("#!/bin/sh\ncat >theirs\n")
    script.chmod(0o755)
    path = clone.root / ".git/hooks" / HOOK
    path.symlink_to("../../their-hook")
    for runs in (True, False):
        before = state(path.parent)
        (clone.root / "theirs").unlink(missing_ok=True)
        install(clone)
        assert len(push(clone)) == 2
        assert (clone.root / "theirs").exists() is runs
        assert script.read_text() == "#!/bin/sh\ncat >theirs\n"
        remove_hook(clone.root)
        assert state(path.parent) == before
        path.unlink()
        hook_with(clone, "#!/bin/sh\ncat >theirs\n", mode=0o644)


def test_lines_that_somebody_added_to_our_hook_stay(clone: Repository) -> None:
    path = install(clone)
    path.write_bytes(path.read_bytes() + b"echo theirs\n")
    install(clone)
    assert remove_hook(clone.root).changed
    assert path.read_bytes() == b"#!/bin/sh\necho theirs\n"


def test_our_hook_is_found_where_pre_commit_has_moved_it(clone: Repository) -> None:
    path = install(clone)
    path.rename(path.with_name(f"{HOOK}.legacy"))
    hook_with(clone, SHELL)
    before = state(path.parent)
    assert install_hook(clone.root, invoke=clone.root / ".venv/bin/invoke").changed is False
    assert state(path.parent) == before
    assert remove_hook(clone.root).path.name == f"{HOOK}.legacy"
    assert state(path.parent) == {HOOK: (SHELL.encode(), 0o755)}


def test_two_hooks_to_keep_are_one_too_many(clone: Repository) -> None:
    path = hook_with(clone, b"\x7fELF")
    path.with_name(f"{HOOK}.before-headwater").write_bytes(b"older")
    before = state(path.parent)
    with pytest.raises(FilesError, match="are both there") as caught:
        install_hook(clone.root)
    assert caught.value.hint
    assert state(path.parent) == before


def test_when_the_hook_cannot_be_written_the_old_one_is_in_its_place(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _mode: int) -> None:
        raise OSError(28, "No space left on device")

    for text in (b"\x7fELF", b"#!/bin/sh\nexit 0\n"):
        path = hook_with(clone, text)
        before = state(path.parent)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "chmod", full)
            with pytest.raises(FilesError, match="cannot be written"):
                install_hook(clone.root)
        assert state(path.parent) == before


def test_the_folder_that_the_configuration_names_is_used(clone: Repository) -> None:
    clone.git("config", "core.hooksPath", ".githooks")
    assert install(clone) == clone.root / ".githooks" / HOOK
    assert len(push(clone)) == 2
    assert remove_hook(clone.root).changed
    assert list((clone.root / ".githooks").iterdir()) == []


def test_without_a_repository_there_is_nothing_to_install_or_remove(tmp_path: Path) -> None:
    for act in (install_hook, remove_hook):
        with pytest.raises(HeadwaterError) as caught:
            act(tmp_path)
        assert caught.value.exit_code == 2
