"""The hook of git that asks before a push: `invoke lint` for what is new, and `invoke verify`.

What is ours is a block between two lines. In a hook of the shell that is there already it stands
behind the first line, so that it is run although others end in `exec` (pre-commit's do); what
somebody else wrote stays as it is, byte for byte. A hook that is no script of a shell, a link, or
switched off is called from a new one. What git tells a hook on its standard input is left to them.
"""

from __future__ import annotations

import os
import re
import shlex
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import FilesError
from headwater.files.git import hooks_of
from headwater.files.writing import replace_file

HOOK = "pre-push"
# Where pre-commit puts a hook that it finds when it is installed; it goes on calling it.
_MOVED = "pre-push.legacy"
_KEPT = "pre-push.before-headwater"

_BEGIN = (
    b"# >>> headwater: written by `invoke hooks.install`, removed by `invoke hooks.remove` >>>\n"
)
_END = b"# <<< headwater <<<\n"
_SHEBANG = b"#!/bin/sh\n"
_BLOCK = re.compile(re.escape(_BEGIN) + b".*?" + re.escape(_END), re.DOTALL)
_CALL = re.compile(r"^headwater_before_push (.+) \"\$1\" \|\| exit \$\?$", re.MULTILINE)
_SHELL = re.compile(rb"#!.*[/ ](sh|ash|bash|dash|ksh|zsh)( .*)?\n")

# Where it is called, GIT_DIR may be relative to the top of the work tree: git is asked before `cd`.
_FUNCTION = """\
headwater_before_push() (
    # Folder of the project, its environment's invoke, name of the remote.
    # The base is what the branch will be merged into: the branch that it follows, unless that is
    # its own copy on the remote; then the main branch of the remote.
    own=$(git symbolic-ref --quiet --short HEAD)
    follows=$(git rev-parse --abbrev-ref '@{upstream}' 2>/dev/null) || follows=
    main=$(git symbolic-ref --quiet --short "refs/remotes/$3/HEAD" 2>/dev/null) ||
        main=$(git symbolic-ref --quiet --short refs/remotes/origin/HEAD 2>/dev/null) || main=
    base=$follows
    if [ "${follows#*/}" = "$own" ]; then base=${main:-$follows}; fi
    base=${base:-$main}
    stopped() {
        echo "headwater: the push is stopped: $1 found something above;" \\
            "for once without the hook: git push --no-verify" >&2
        exit "$2"
    }
    if ! cd -- "$1" 2>/dev/null || ! [ -f tasks.py ]; then
        echo "headwater: there is no tasks.py in $1 here: nothing is checked" >&2
        exit 0
    fi
    invoke=$2
    if ! [ -x "$invoke" ] && ! invoke=$(command -v invoke); then
        echo "headwater: $2 is not there, and no invoke is on PATH: the push is stopped" >&2
        echo "hint: make the environment, and run invoke hooks.install in it" >&2
        exit 2
    fi
    if [ -n "$base" ]; then
        "$invoke" lint --base "$base" </dev/null || stopped lint $?
    else
        echo "headwater: no base is known (git remote set-head origin --auto finds it)" >&2
        "$invoke" lint </dev/null || stopped lint $?
    fi
    "$invoke" verify </dev/null || stopped verify $?
)
"""

_WRAPPER = f"""\
if [ -x "$(dirname -- "$0")/{_KEPT}" ]; then exec "$(dirname -- "$0")/{_KEPT}" "$@"; fi
""".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """What became of the hook; `changed` is False when it was so already."""

    path: Path
    changed: bool
    note: str = ""


def install_hook(root: Path, *, invoke: Path | None = None) -> Hooked:
    """Have the hook before a push check this project, and keep what is there.

    `invoke` is the program that it calls (default: that of the environment that runs us). Several
    projects of one repository may do so, one after the other. Raises SettingsError when there is
    no repository, FilesError when the hook cannot be written; nothing has changed then.
    """
    hooks = hooks_of(root)
    program = _as_called(root, invoke or _own_invoke())
    path = _ours(hooks.folder) or hooks.folder / HOOK
    before = _read(path)
    calls = {**_calls(before), hooks.project: program}
    if _BLOCK.search(before):
        after = _BLOCK.sub(lambda _: _block(calls), before)
    elif _takes_a_block(path, before):
        first, rest = before.split(b"\n", 1)
        after = first + b"\n" + _block(calls) + rest
    else:
        return _install_before(path, calls)
    if after == before:
        return Hooked(path=path, changed=False)
    _write(path, after)
    return Hooked(path=path, changed=True, note=_note(_without_block(after)))


def _install_before(path: Path, calls: Mapping[str, str]) -> Hooked:
    """Write a hook of our own; one of another kind is moved aside, and called from it."""
    kept = _move_aside(path)
    rest = _WRAPPER if kept else b""
    try:
        _write(path, _SHEBANG + _block(calls) + rest)
    except FilesError:
        if kept:
            kept.rename(path)
        raise
    return Hooked(path=path, changed=True, note=_note(_SHEBANG + rest))


def remove_hook(root: Path) -> Hooked:
    """Take away what `install_hook` wrote for this project; the rest is as it was before.

    Raises SettingsError when there is no repository, FilesError when the hook cannot be changed.
    """
    hooks = hooks_of(root)
    path = _ours(hooks.folder)
    before = _read(path) if path else b""
    calls = _calls(before)
    if path is None or hooks.project not in calls:
        return Hooked(path=path or hooks.folder / HOOK, changed=False)
    del calls[hooks.project]
    if calls:
        _write(path, _BLOCK.sub(lambda _: _block(calls), before))
    else:
        _leave(path, _without_block(before))
    return Hooked(path=path, changed=True)


# --- the block --------------------------------------------------------------------------------


def _block(calls: Mapping[str, str]) -> bytes:
    lines = [
        f'headwater_before_push {shlex.quote(project)} {shlex.quote(program)} "$1" || exit $?\n'
        for project, program in sorted(calls.items())
    ]
    return _BEGIN + "".join([_FUNCTION, *lines]).encode(errors="surrogateescape") + _END


def _calls(content: bytes) -> dict[str, str]:
    """Read the projects of a block, each with its invoke."""
    found = _BLOCK.search(content)
    text = found[0].decode(errors="surrogateescape") if found else ""
    calls = (shlex.split(call) for call in _CALL.findall(text))
    return {words[0]: words[1] for words in calls}


def _without_block(content: bytes) -> bytes:
    return _BLOCK.sub(b"", content)


def _own_invoke() -> Path:
    """Give invoke as it lies beside this Python: PATH need not hold the environment."""
    name = "invoke.exe" if os.name == "nt" else "invoke"
    return Path(sysconfig.get_path("scripts")) / name


def _as_called(root: Path, program: Path) -> str:
    """Name a program from the project where it lies in it: another work tree has its own there."""
    with suppress(ValueError):
        return program.relative_to(root).as_posix()
    return program.as_posix()


# --- the file ---------------------------------------------------------------------------------


def _ours(folder: Path) -> Path | None:
    """Find the hook with our block: in its place, or where pre-commit has moved it."""
    paths = (folder / HOOK, folder / _MOVED)
    return next((path for path in paths if _BLOCK.search(_read(path))), None)


def _read(path: Path) -> bytes:
    """Read a hook; one that is not there is empty."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise FilesError(f"{path} cannot be read", detail=error.strerror or "") from error


def _takes_a_block(path: Path, content: bytes) -> bool:
    """Say whether a hook is a shell's script that git runs, that is no link, and does something.

    (A first line alone would be taken for what we leave of a hook of our own.)
    """
    first = _SHELL.match(content)
    runs = not path.is_symlink() and os.access(path, os.X_OK)
    return runs and first is not None and content != first[0]


def _move_aside(path: Path) -> Path | None:
    """Move a hook of another kind out of the way, and say where it is now; None: there was none."""
    if not os.path.lexists(path):
        return None
    kept = path.with_name(_KEPT)
    if os.path.lexists(kept):
        raise FilesError(
            f"{path} and {kept.name} beside it are both there",
            detail=f"{kept.name} is what an earlier invoke hooks.install has kept",
            hint="look which of them is right, and remove the other",
        )
    try:
        path.rename(kept)
    except OSError as error:
        raise FilesError(f"{path} cannot be moved", detail=error.strerror or "") from error
    return kept


def _leave(path: Path, rest: bytes) -> None:
    """Leave what others wrote in a hook; where there is nothing, what was there before us."""
    kept = path.with_name(_KEPT)
    try:
        if rest == _SHEBANG:
            path.unlink()
        elif rest == _SHEBANG + _WRAPPER:
            kept.replace(path)
        else:
            _write(path, rest)
    except OSError as error:
        raise FilesError(f"{path} cannot be changed", detail=error.strerror or "") from error


def _write(path: Path, content: bytes) -> None:
    """Write a hook in one step, so that a push meets all of it; everybody may run a new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content, mode=0o755)
    except OSError as error:
        raise FilesError(f"{path} cannot be written", detail=error.strerror or "") from error


def _note(others: bytes) -> str:
    """Say what becomes of our block when the tool that made the rest makes it anew."""
    if others == _SHEBANG:
        return ""
    return (
        "another hook is there, and is kept; a tool that writes it anew takes ours away: "
        "then run invoke hooks.install again"
    )
