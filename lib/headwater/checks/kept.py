"""Answers that are kept between runs: each follows from a key, and only saves finding it again.

    STATE/kept/KIND/KEY.json

Whatever cannot be read or written there is found again, or not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import headwater
from headwater.errors import HeadwaterError
from headwater.postgres.installation import state_folder
from headwater.postgres.private_files import make_folder, new_file

# How many answers of a kind are kept: those that were written last.
_KEPT = 200


def key_of(*values: object) -> str:
    """Give the key of values that JSON can hold, and of the code that finds the answer."""
    whole = json.dumps([_code(), *values], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


@cache
def _code() -> list[tuple[str, int, int]]:
    """Say which Headwater this is: another one may find another answer."""
    package = Path(headwater.__file__).parent
    files = sorted(each for each in package.rglob("*") if each.suffix in {".py", ".sql"})
    return [(f"{each}", (s := each.stat()).st_size, s.st_mtime_ns) for each in files]


def recall(kind: str, key: str) -> Any:
    """Give what was kept; None when there is nothing that can be read."""
    try:
        return json.loads(_place(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, HeadwaterError):
        return None


def keep(kind: str, key: str, form: object) -> None:
    """Keep an answer, wholly or not at all, and forget the oldest of its kind."""
    with suppress(OSError, HeadwaterError):
        place = _place(kind, key)
        make_folder(place.parent)
        written = place.with_suffix(f".{os.getpid()}-{threading.get_native_id()}")
        with os.fdopen(new_file(written), "w", encoding="utf-8") as file:
            # (`json.dump` writes piece by piece in Python, and takes more than twice as long.)
            file.write(json.dumps(form))
        written.replace(place)
        newest_first = sorted(place.parent.iterdir(), key=lambda each: -each.stat().st_mtime)
        for old in newest_first[_KEPT:]:
            old.unlink()


def _place(kind: str, key: str) -> Path:
    return state_folder() / "kept" / kind / f"{key}.json"
