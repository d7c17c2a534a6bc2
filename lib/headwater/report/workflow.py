"""Invoke's task, with every end of a run turned into words and an exit code.

A library error becomes its message and its code; Ctrl-C 130, SIGTERM 143, a reader that has gone
141; anything else is a bug of ours: 70, and how to report it. With `--json` each of them is the one
object on stdout as well. A traceback never shows the values of variables.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

# Invoke keeps Python from writing bytecode: every run compiled all of Headwater anew, which took a
# fifth of it. Who wants that all the same (-B, PYTHONDONTWRITEBYTECODE) has it.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

# What is loaded, and thousands of files, are objects that live as long as the process: looking
# through them again and again for what could be freed took a sixth of the time; looking once more
# at the end, when all of it goes anyway, as much as loading psycopg does.
_OBJECTS_BEFORE_A_LOOK = 100_000
gc.set_threshold(_OBJECTS_BEFORE_A_LOOK)
atexit.register(gc.freeze)

from headwater.errors import HeadwaterError  # noqa: E402 - from here on it is written

# 128 and the number of the signal, as a shell says it.
INTERRUPTED = 130
NOBODY_READS = 141
TERMINATED = 143
# EX_SOFTWARE of sysexits.h
BUG = 70

# A terminal that is closed ends a run as a supervisor does.
_ENDING = (signal.SIGTERM, signal.SIGHUP)

_PASSWORD = re.compile(
    r"(postgres(?:ql)?://[^:@/\s]*:)\S*(?=@)"
    r"|(password['\"]?\s*[=:]\s*)(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)",
    re.IGNORECASE,
)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: like Ctrl-C it cancels the statement, and all that is open is closed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came.

    Python itself would end by the signal, whatever exit code we give, when a bare
    KeyboardInterrupt passes through an `exec` of text, as importing a dataclass does one.
    """


class Workflow(Task[Callable[..., Any]]):
    """A task that ends in an exit code of its own for every kind of end."""

    full_name = ""
    """Its name with that of its group, such as `db.start`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task's body; when tasks call tasks, the outermost one reports."""
        if "--help" in kwargs.values():
            # Invoke takes it for the name that a task such as migration.new wants.
            raise Exit(f"the help is shown by: invoke --help {self.full_name or self.name}", code=2)
        before = {each: signal.signal(each, _terminate) for each in _ENDING}
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            before[signal.SIGINT] = signal.signal(signal.SIGINT, _interrupt)
        try:
            return super().__call__(*args, **kwargs)
        except Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            with _if_nobody_reads():
                self._tell(error, json=_wants_json(kwargs))
            raise Exit(code=_exit_code(error)) from error
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _tell(self, error: BaseException, *, json: bool) -> None:
        """Say how the run ended: in words on stderr, with JSON as the one object on stdout too."""
        if isinstance(error, BrokenPipeError):
            raise error
        from headwater.report.screen import print_json, show_error

        task = self.full_name or self.name
        if isinstance(error, HeadwaterError):
            show_error(error, task=task, json=json)
            return
        end = _end_of(error)
        if end["code"] == "bug":
            sys.stderr.write(_without_passwords("".join(traceback.format_exception(error))))
            sys.stderr.write(f"\n{end['message']}: {end['hint']}\n")
        else:
            sys.stderr.write(f"{end['message']}\n")
        if json:
            print_json({"ok": False, "task": task, "error": end})


def _wants_json(flags: Mapping[str, Any]) -> bool:
    """Say whether a task was asked for JSON; `--format json` of lint asks for it as well."""
    return bool(flags.get("json")) or flags.get("format") == "json"


def _exit_code(error: BaseException) -> int:
    match error:
        case HeadwaterError():
            return error.exit_code
        case Terminated():
            return TERMINATED
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            # What was found has reached nobody: that must not look like 0.
            return NOBODY_READS
        case _:
            return BUG


def _end_of(error: BaseException) -> dict[str, str]:
    """Give the end that is no error of the library in the form that errors have in JSON."""
    if isinstance(error, KeyboardInterrupt):
        code = "terminated" if isinstance(error, Terminated) else "interrupted"
        hint = "invoke status says what is applied"
        return {"code": code, "message": code, "detail": "", "hint": hint}
    return {
        "code": "bug",
        "message": "this is a bug of Headwater",
        "detail": _without_passwords("".join(traceback.format_exception_only(error))).strip(),
        "hint": "please report the traceback on stderr, what you ran, and what invoke status says",
    }


@contextmanager
def _if_nobody_reads() -> Generator[None]:
    """Let what is still to be written go nowhere, when whoever read it has gone (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def _without_passwords(text: str) -> str:
    return _PASSWORD.sub(r"\1\2***", text)


def with_full_names(namespace: Collection) -> Collection:
    """Tell each task the name that users call it by: an error says which task it ended."""
    for name, aliases in namespace.task_names.items():
        # The default task of a collection is called by that's name alone: `lint`.
        namespace[name].full_name = min([name, *aliases], key=len)
    return namespace


def _interrupt(_number: int, _frame: object) -> None:
    raise Interrupted


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


# No short flags: Invoke hands them out in order, so a new flag would change an old one's letter.
task = functools.partial(invoke_task, klass=Workflow, auto_shortflags=False)
