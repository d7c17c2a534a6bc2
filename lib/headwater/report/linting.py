"""Showing what lint found: to people, as the one JSON object, or in a form of another program."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from headwater.errors import SettingsError
from headwater.model import Target
from headwater.report.formats import JSON, TEXT, Place, formatted
from headwater.report.linted import linted_lines, summed
from headwater.report.screen import json_of, print_lines, say, show
from headwater.report.traced import traced_lines
from headwater.verdicts import Linted, Traced, Weights

# What has no place for a note says it on stderr.
_WITHOUT_NOTES: Final = ("gitlab",)


def show_linted(
    outcome: Linted,
    *,
    target: Target | None,
    format: str = TEXT,  # noqa: A002 - the name of the flag
    place: Place,
    output: Path | None = None,
) -> None:
    """Show what lint found in a format (`format_of` has read its name), or write it to a file.

    A format for a program stands bare on stdout, as UTF-8; with a file, stdout stays empty. The sum
    and what the format has no place for go to stderr. Raises SettingsError when the file cannot be
    written.
    """
    ok = outcome.exit_code(place.threshold) == 0
    if output is None and format in (TEXT, JSON):
        show("lint", outcome, json=format == JSON, target=target, ok=ok)
        return
    if format == TEXT:
        text = "".join(f"{line.text}\n" for line in linted_lines(outcome))
    elif format == JSON:
        text = json_of("lint", outcome, target=target, ok=ok)
    else:
        text = formatted(outcome, format, place)
    if output is None:
        _print_bare(text)
    else:
        _write(output, text)
    _say_beside(outcome, format, output)


def _say_beside(outcome: Linted, format: str, output: Path | None) -> None:  # noqa: A002
    if format in _WITHOUT_NOTES:
        for note in outcome.notes:
            say(f"note: {' '.join(note.split())}", style="yellow", stderr=True)
    where = f"; written to {output}" if output else ""
    say(f"{summed(outcome)}{where}", stderr=True)


def _print_bare(text: str) -> None:
    """Print a text as the UTF-8 that its readers want, whatever the locale says."""
    sys.stdout.flush()
    sys.stdout.buffer.write(_encoded(text))
    sys.stdout.buffer.flush()


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_encoded(text))
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be written: {error.strerror}", hint="--output takes the name of a file"
        ) from error


def _encoded(text: str) -> bytes:
    # Half a character in the name of a file becomes an escape, which JSON knows as well.
    return text.encode("utf-8", "backslashreplace")


def show_traced(traces: Iterable[Traced], weights: Weights | None = None) -> None:
    """Show the plan of each file: what its statements lock and do, and how much that is."""
    for traced in traces:
        print_lines(traced_lines(traced, weights))
