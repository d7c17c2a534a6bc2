"""Errors in tests: what a traceback shows of ours, and which of the server's are row security's."""

from __future__ import annotations

from typing import TypeVar

import psycopg

from headwater.errors import HeadwaterError

E = TypeVar("E", bound=HeadwaterError)


def noted(error: E) -> E:
    """Give an error whose hint is a note as well."""
    error.add_note(error.hint)
    return error


def is_of_a_policy(error: psycopg.errors.InsufficientPrivilege) -> bool:
    """Say whether row security has refused a row; the other reason is a privilege that is missing.

    By the server's function that checks policies: the message may be in any language.
    """
    return error.diag.source_function == "ExecWithCheckOptions"
