"""What lint found, in the forms that other programs read. Pure: nothing is printed here.

Each function takes what was found, and the place where: the folder as the repository knows it,
the threshold, the rules. `text` and `json` are the forms that every task has, elsewhere in report.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

from headwater.errors import SettingsError
from headwater.report.formats.place import Place, folder_in_repository, readable
from headwater.verdicts import Linted

__all__ = [
    "FORMATS",
    "JSON",
    "NAMES",
    "TEXT",
    "Place",
    "folder_in_repository",
    "format_of",
    "formatted",
]

TEXT, JSON = "text", "json"

# Each is a function in a module of its name, which is loaded when it is wanted.
FORMATS: Final = ("github", "gitlab", "sarif", "junit", "markdown")

NAMES: Final = (TEXT, JSON, *FORMATS)


def format_of(name: str, *, json: bool = False) -> str:
    """Read the name of a format; `--json` is another word for one of them.

    Raises SettingsError for any other word, and where both were given and differ.
    """
    if name not in NAMES:
        raise SettingsError(
            f"{name!r} is no format", hint=f"--format takes {', '.join(NAMES[:-1])} or {NAMES[-1]}"
        )
    if json and name not in (TEXT, JSON):
        raise SettingsError(f"--json and --format {name} contradict: give one of them")
    return JSON if json else name


def formatted(outcome: Linted, format: str, place: Place) -> str:  # noqa: A002 - the flag's name
    """Give what was found in a format for other programs."""
    write: Callable[[Linted, Place], str] = getattr(import_module(f"{__name__}.{format}"), format)
    return write(readable(outcome), place)
