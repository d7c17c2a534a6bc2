"""Progress of long work on stderr: a live line in a terminal, plain lines elsewhere.

It is written by a thread of its own. Whoever works may hold locks in a database: a terminal that
was paused (Ctrl-S), or a slow pipe, must not make them wait. That thread rests in between: where
thousands of small files run, waking it for each would take as long as they do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from headwater.model import Event, Finished, MigrationResult, Notify, Said, Started
from headwater.report.screen import console, is_terminal, say

if TYPE_CHECKING:
    from rich.status import Status


_PATIENCE_S = 1.0

# For how long what has happened since may wait to be shown: nobody sees it.
_REST_S = 0.05


@contextmanager
def progress() -> Generator[Notify]:
    """Give the function that takes the events of long work, and shows them in their order.

    All of them are shown when the block is left. What showing them has raised, is raised then
    (BrokenPipeError: nobody reads), unless the block itself has failed.
    """
    if not is_terminal(sys.stderr):
        with _shown_apart(tell) as notify:
            yield notify
        return
    with (
        console(stderr=True).status("working") as status,
        _shown_apart(lambda event: _show_event(event, status)) as notify,
    ):
        yield notify


@contextmanager
def _shown_apart(show: Callable[[Event], None]) -> Generator[Notify]:
    events = SimpleQueue[Event | None]()
    failures = list[Exception]()
    done = threading.Event()

    def work() -> None:
        while (event := events.get()) is not None:
            if not failures:
                try:
                    show(event)
                except Exception as error:  # noqa: BLE001 - raised by the one who waits for us
                    failures.append(error)
            if events.empty():
                done.wait(_REST_S)

    thread = threading.Thread(target=work, name="progress", daemon=True)
    thread.start()
    patience_s: float | None = None
    try:
        yield events.put
    except KeyboardInterrupt:
        # Whoever ends us does not wait for a terminal that takes nothing.
        patience_s = _PATIENCE_S
        raise
    finally:
        events.put(None)
        done.set()
        thread.join(patience_s)
    if failures:
        raise failures[0]


def tell(event: Event) -> None:
    """Print one event as a plain line."""
    match event:
        case Finished(result=result):
            say(_finished(result), stderr=True)
        case Said(message=message):
            say(message, stderr=True)
        case Started():
            pass


def _show_event(event: Event, status: Status) -> None:
    """Show what runs as a live line, and what is done as lines above it."""
    match event:
        case Started(version=version, index=index, total=total):
            status.update(f"{version} ({index} of {total})")
        case Finished(result=result):
            say(_finished(result), style="green", stderr=True)
        case Said(message=message):
            say(message, style="dim", stderr=True)


def _finished(result: MigrationResult) -> str:
    """Say what ran; a down file is called by what it undoes."""
    undone = result.version.removesuffix(".down")
    what = f"ran {undone}" if undone == result.version else f"undid {undone}"
    return f"{what} in {result.duration_ms} ms"
