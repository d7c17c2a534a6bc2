"""Errors as a failing test shows them: a traceback has an error's notes, and not its hint."""

from __future__ import annotations

from typing import TypeVar

from headwater.errors import HeadwaterError

E = TypeVar("E", bound=HeadwaterError)


def noted(error: E) -> E:
    """Give an error whose hint is a note as well."""
    error.add_note(error.hint)
    return error
