"""Invoke's task, with every end of a run turned into words and an exit code.

A library error becomes its message and its code; Ctrl-C 130, SIGTERM 143; anything else is a bug
of ours: 70, and how to report it. A traceback never shows the values of variables.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

from headwater.errors import HeadwaterError

INTERRUPTED = 130
TERMINATED = 143
BUG = 70

_PASSWORD = re.compile(r"(postgres(?:ql)?://[^:@/\s]*:)[^\s]*@|(password=)\S+", re.IGNORECASE)


class Terminated(BaseException):
    """SIGTERM came: everything that is open is closed on the way out."""


class Workflow(Task[Callable[..., Any]]):
    """A task that ends in an exit code of its own for every kind of end."""

    full_name = ""
    """Its name with that of its group, such as `db.start`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task's body; when tasks call tasks, the outermost one reports."""
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().__call__(*args, **kwargs)
        except HeadwaterError as error:
            from headwater.report.screen import show_error

            show_error(error, task=self.full_name or self.name, json=bool(kwargs.get("json")))
            raise Exit(code=error.exit_code) from error
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            raise Exit(code=INTERRUPTED) from None
        except Terminated:
            sys.stderr.write("terminated\n")
            raise Exit(code=TERMINATED) from None
        except BrokenPipeError:
            # Who read our output has gone (`| head`): there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=0) from None
        except Exit:
            raise
        except Exception as error:
            _report_bug(error)
            raise Exit(code=BUG) from error
        finally:
            signal.signal(signal.SIGTERM, before)


def with_full_names(namespace: Collection) -> Collection:
    """Tell each task the name that users call it by: an error says which task it ended."""
    for name in namespace.task_names:
        namespace[name].full_name = name
    return namespace


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


def _report_bug(error: Exception) -> None:
    text = "".join(traceback.format_exception(error))
    sys.stderr.write(_PASSWORD.sub(r"\1\2***", text))
    sys.stderr.write(
        "\nthis is a bug of Headwater: please report the lines above, what you ran, and what "
        "`invoke status` says\n"
    )


# No short flags: Invoke hands them out in order, so a new flag would change an old one's letter.
task = functools.partial(invoke_task, klass=Workflow, auto_shortflags=False)
