"""Names of migrations: `0001_init` or `20251025_add_status`, and what is wrong with a name."""

from __future__ import annotations

import re
from datetime import date

MAX_LENGTH = 120  # a file name holds 255 bytes; longer than this nobody can read a list of them

_FORM = re.compile(r"([0-9]{4}|[0-9]{8})_([a-z0-9]+(?:_[a-z0-9]+)*)")
_ORDERED = re.compile(r"(?:[0-9]{4}|[0-9]{8})_.*")
_DESCRIPTION = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")


def fault_of_version(version: str) -> str:
    """Say what is wrong with a version (a file name without `.sql`), or nothing."""
    match = _FORM.fullmatch(version)
    if not match:
        return "a name is YYYYMMDD_description or 0001_description, of a-z, 0-9 and _"
    if len(version) > MAX_LENGTH:
        return f"a name has at most {MAX_LENGTH} characters"
    if len(match[1]) == 8 and not _is_date(match[1]):
        return f"{match[1]} is no date"
    return ""


def version_of(name: str) -> str | None:
    """Give the version of a file name that is a migration's, and None for any other name."""
    version = name.removesuffix(".sql")
    return version if version != name and not fault_of_version(version) else None


def fault_of_description(description: str) -> str:
    """Say what is wrong with the part behind the date, or nothing."""
    if not _DESCRIPTION.fullmatch(description):
        return "a description is of a-z, 0-9 and single _, such as add_project_status"
    if _ORDERED.fullmatch(description):
        return "a description begins with no date or number; the date is put before it"
    if len(description) > MAX_LENGTH - 9:
        return f"a description has at most {MAX_LENGTH - 9} characters"
    return ""


def _is_date(digits: str) -> bool:
    try:
        date.fromisoformat(digits)
    except ValueError:
        return False
    return True
