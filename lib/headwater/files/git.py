"""What git knows of the folder of migrations: what a base holds, and where its hooks are.

The only module that asks git, as the program that the user has. It is told the folder (`-C`), and
not what a hook's environment says: git sets GIT_DIR and GIT_INDEX_FILE for the hooks it runs, and
those would lead it to another repository or another index than that of the folder.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import SettingsError
from headwater.files.names import version_of
from headwater.files.text import checksum, normalise

# `git rev-parse --local-env-vars` (2.39) without the variables of configuration: what somebody sets
# with `git -c` (a safe.directory in a container) holds for what git starts, too.
_OF_A_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)

_REGULAR_FILE = "100"
"""How the mode of a plain file begins in a tree; links (120000) and submodules (160000) differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The migrations of a base: version -> checksum, at two commits.

    `tip` is the base as it is now: what it holds has a place in the order. `fork` is where the
    branch left it (`git merge-base`): what a branch edited or removed is judged by that, as in
    `git diff BASE...`, so that a branch that is merely behind has removed nothing. Empty where the
    two have no commit in common.
    """

    ref: str
    tip: Mapping[str, str]
    fork: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where git looks for hooks, and the project's folder below the top of the work tree."""

    folder: Path
    project: str
    """With `/`, and `.` where the project is the whole repository."""


# --- the base ---------------------------------------------------------------------------------


def read_base(root: Path, migrations: Path, ref: str) -> Base:
    """Read the migrations that a base holds, such as `origin/main`.

    The repository is that of the folder of migrations, so a submodule and a work tree of their own
    are right. A file that is no migration's, or that could not be run because it is no UTF-8, is
    not part of a base. Raises SettingsError, with what to type, for everything that git cannot do.
    """
    _require_repository(root, migrations)
    tip = _commit(migrations, ref)
    fork = _fork(migrations, ref, tip)
    trees = [_tree(migrations, commit) for commit in (tip, fork)]
    checksums = _checksums(migrations, {blob for tree in trees for blob in tree.values()})
    at_tip, at_fork = (
        {v: checksums[blob] for v, blob in tree.items() if blob in checksums} for tree in trees
    )
    return Base(ref=ref, tip=at_tip, fork=at_fork)


def new_since(root: Path, migrations: Path, ref: str) -> frozenset[str]:
    """Give the versions in the folder that a base holds neither now nor where the branch left it.

    They are those of the work tree: a file that is not committed yet counts.
    """
    base = read_base(root, migrations, ref)
    there = {version_of(entry.name) for entry in migrations.iterdir()}
    return frozenset(v for v in there if v and v not in base.tip and v not in base.fork)


def _require_repository(root: Path, migrations: Path) -> None:
    """Refuse a folder that is in no repository, or that git does not want to read."""
    if _ask(migrations, "rev-parse", "--is-inside-work-tree").stdout.strip() == b"true":
        return
    of_project = _ask(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == b"true"
    if of_project:
        raise SettingsError(
            f"the folder of migrations is outside of the repository of {root}",
            detail=str(migrations),
            hint="--base needs one that git keeps: set HEADWATER_MIGRATIONS, or leave --base out",
        )
    raise _no_repository(migrations)


def _no_repository(folder: Path) -> SettingsError:
    words = _words(_ask(folder, "rev-parse", "--show-toplevel"))
    # Of a repository that belongs to another user git itself says what to type.
    trust = re.search(r"git config --global --add safe\.directory .+", words)
    return SettingsError(
        f"git cannot be asked about {folder}",
        detail=words,
        hint=trust[0] if trust else "this needs a work tree of git: run it in a clone",
    )


def _commit(folder: Path, ref: str) -> str:
    """Give the commit that a ref names; with `^{commit}` behind it no name is a flag of git."""
    found = _ask(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.decode().strip()
    raise SettingsError(
        f"git does not know {ref!r}" if ref else "--base wants the name of a branch or commit",
        detail=_why_unknown(folder),
        hint=_how_to_fetch(folder, ref),
    )


def _why_unknown(folder: Path) -> str:
    return "the clone is shallow: CI often fetches one commit only" if _is_shallow(folder) else ""


def _how_to_fetch(folder: Path, ref: str) -> str:
    """Give the command that brings a branch of a remote.

    With both sides named: a clone of a single branch would fetch it, and not call it origin/main.
    """
    remote, _, branch = ref.removeprefix("refs/remotes/").partition("/")
    remotes = _ask(folder, "remote").stdout.decode(errors="replace").split()
    if branch and remote in remotes:
        return f"git fetch {remote} {branch}:refs/remotes/{remote}/{branch}"
    return "git branch --all lists what there is; a typical base is origin/main"


def _fork(folder: Path, ref: str, tip: str) -> str:
    """Give the commit where the branch left the base, or nothing where they have none in common.

    In a shallow clone it may be behind the edge; without it, a file that is missing because the
    branch is old looks like one that was removed.
    """
    if _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode:
        return ""
    found = _ask(folder, "merge-base", tip, "HEAD")
    if found.returncode == 0:
        return found.stdout.decode().strip()
    if _is_shallow(folder):
        raise SettingsError(
            f"the clone is shallow, and does not reach back to where it left {ref}",
            hint="git fetch --unshallow (in GitHub Actions: fetch-depth: 0; in GitLab: "
            "GIT_DEPTH: 0)",
        )
    return ""


def _is_shallow(folder: Path) -> bool:
    return _ask(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"


def _tree(folder: Path, commit: str) -> dict[str, str]:
    """Give version and blob of each migration that a commit has in this folder, if it has it."""
    if not commit:
        return {}
    listed = _require(folder, "ls-tree", "-z", commit).decode(errors="surrogateescape")
    found = dict[str, str]()
    for entry in listed.split("\0")[:-1]:
        head, _, name = entry.partition("\t")
        mode, _, blob = head.split(" ")
        version = version_of(name)
        if version and mode.startswith(_REGULAR_FILE):
            found[version] = blob
    return found


def _checksums(folder: Path, blobs: Iterable[str]) -> dict[str, str]:
    """Give the checksum of each blob's text, all of them from one process."""
    wanted = "".join(f"{blob}\n" for blob in sorted(blobs))
    answer = _require(folder, "cat-file", "--batch", given=wanted.encode())
    texts = ((blob, normalise(raw, blob)) for blob, raw in _contents(answer))
    return {blob: checksum(text) for blob, text in texts if isinstance(text, str)}


def _contents(answer: bytes) -> Iterator[tuple[str, bytes]]:
    """Read what `git cat-file --batch` answers: a line `ID blob SIZE`, the bytes, a line end."""
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        head = answer[at:end].decode().split(" ")
        if len(head) != 3:
            raise SettingsError(
                "git lacks a file of the base",
                detail=" ".join(head),
                hint="git fetch --refetch brings what a partial clone left out",
            )
        size = int(head[2])
        yield head[0], answer[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


# --- hooks ------------------------------------------------------------------------------------


def hooks_of(root: Path) -> Hooks:
    """Find the folder of hooks of the repository that a project is in.

    It is what core.hooksPath says, and shared by all work trees of a repository. Raises
    SettingsError where it lies outside: then it serves other repositories as well.
    """
    found = _ask(root, "rev-parse", "--show-toplevel")
    if found.returncode:
        raise _no_repository(root)
    top = _path(found.stdout)
    # Where core.hooksPath is relative, it is so to the top of the work tree.
    folder = top / _path(_require(top, "rev-parse", "--git-path", "hooks"))
    common = top / _path(_require(top, "rev-parse", "--git-common-dir"))
    inside = folder.resolve()
    if not any(inside.is_relative_to(each.resolve()) for each in (top, common)):
        raise SettingsError(
            "core.hooksPath leads to a folder that other repositories may share",
            detail=str(folder),
            hint="git config --local core.hooksPath .git/hooks gives this one hooks of its own",
        )
    prefix = _require(root, "rev-parse", "--show-prefix")
    return Hooks(folder=folder, project=_path(prefix).as_posix())


def _path(answer: bytes) -> Path:
    return Path(os.fsdecode(answer.removesuffix(b"\n")))


# --- what would be lost ------------------------------------------------------------------------


def unsaved(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Name the files of a folder whose present content git does not have, staged or committed.

    None where the folder is in no repository, or there is no git: nobody keeps them there.
    """
    try:
        if _ask(folder, "rev-parse", "--is-inside-work-tree").stdout.strip() != b"true":
            return ()
        return tuple(name for name in names if not _has(folder, name))
    except SettingsError:
        return ()


def _has(folder: Path, name: str) -> bool:
    known = _ask(folder, "ls-files", "--error-unmatch", "--", name).returncode == 0
    return known and _ask(folder, "diff", "--quiet", "--", name).returncode == 0


# --- the program ------------------------------------------------------------------------------


def _require(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """Give what git answers, or raise SettingsError with its own words."""
    done = _ask(folder, *arguments, given=given)
    if done.returncode:
        raise SettingsError(
            f"git {arguments[0]} failed in {folder}",
            detail=_words(done),
            hint="git status and git fsck say what is wrong with the repository",
        )
    return done.stdout


def _ask(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder, whatever repository the environment names, and give what it said."""
    environment = {k: v for k, v in os.environ.items() if k not in _OF_A_REPOSITORY}
    # Its words are looked at; and it must neither ask a person nor write to the index.
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            input=given,
            env=environment,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise SettingsError(
            "git cannot be run",
            detail=f"git: {error.strerror}",
            hint="install git and see to it that it is on PATH, or leave --base out",
        ) from error


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip()
