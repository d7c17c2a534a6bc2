"""Progress of long work on stderr: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headwater.model import Event, Finished, Notify, Said, Started
from headwater.report.screen import console, is_terminal, say

if TYPE_CHECKING:
    from rich.status import Status


@contextmanager
def progress() -> Generator[Notify]:
    """Give the function that takes the events of long work, and shows them."""
    if not is_terminal(sys.stderr):
        yield tell
        return
    with console(stderr=True).status("working") as status:
        yield lambda event: _show_event(event, status)


def tell(event: Event) -> None:
    """Print one event as a plain line."""
    match event:
        case Finished(result=result):
            say(f"ran {result.version} in {result.duration_ms} ms", stderr=True)
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
            say(f"ran {result.version} in {result.duration_ms} ms", style="green", stderr=True)
        case Said(message=message):
            say(message, style="dim", stderr=True)
