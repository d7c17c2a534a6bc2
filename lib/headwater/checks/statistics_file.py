"""A file of statistics: the weights of a production database, for those who must not connect to it.

JSON, of one form: sizes and counts of tables by name, in order of name. It holds no row, no host
and no password, and may be kept beside the migrations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headwater.errors import SettingsError
from headwater.files.writing import replace_file
from headwater.verdicts import Weight, Weights

FORM = 1
_MARK = "headwater_statistics"
_HINT = "make it anew with access to the database: invoke lint.stats --output FILE"
# PostgreSQL's bigint. (What is far beyond it cannot be shown as a number with a unit, either.)
_MOST = 2**63 - 1
_COUNTS = ("rows", "heap_bytes", "index_bytes", "writes")


def statistics_text(weights: Weights) -> str:
    """Write weights as the text of a file; equal weights make equal texts."""
    content = {
        _MARK: FORM,
        "source": weights.source,
        "server_version": weights.version,
        "counted_s": weights.counted_s,
        "tables": {name: asdict(weight) for name, weight in sorted(weights.tables.items())},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_statistics(path: Path, weights: Weights) -> None:
    """Write a file of statistics, over an older one, in one step.

    What a link leads to is written, and what is no file (/dev/stdout) is written to. Raises
    SettingsError when it cannot be.
    """
    content = statistics_text(weights).encode()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            replace_file(path.resolve(), content)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written", detail=error.strerror or "", hint="name another file"
        ) from error


def read_statistics(path: Path) -> Weights:
    """Read a file of statistics. Raises SettingsError, which says what is wrong with the file."""
    content = _content(path)
    if _MARK not in content:
        raise _wrong(path, f"it has no {_MARK!r}: it is something else")
    if content[_MARK] != FORM:
        raise _wrong(path, f"its form is {content[_MARK]!r}; this Headwater reads form {FORM}")
    tables = content.get("tables")
    if not isinstance(tables, dict):
        raise _wrong(path, "'tables' is no object")
    source = content.get("source")
    if not isinstance(source, str):
        raise _wrong(path, "'source' is no text")
    return Weights(
        tables={name: _weight(path, name, tables[name]) for name in sorted(tables)},
        source=f"{source} ({path.name})",
        version=_count(path, content, "server_version", where=""),
        counted_s=_seconds(path, content.get("counted_s")),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read", detail=error.strerror or "", hint=_HINT
        ) from error
    except UnicodeDecodeError:
        raise _wrong(path, "it is not UTF-8") from None
    try:
        content = json.loads(text)
    except RecursionError:
        raise _wrong(path, "it is nested too deeply") from None
    except ValueError as error:
        raise _wrong(path, f"it is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise _wrong(path, "it is no JSON object")
    return content


def _weight(path: Path, name: str, given: object) -> Weight:
    where = f" of {name}"
    if not isinstance(given, dict):
        raise _wrong(path, f"the value{where} is no object")
    estimated = given.get("estimated", False)
    if not isinstance(estimated, bool):
        raise _wrong(path, f"'estimated'{where} is neither true nor false")
    counts = {word: _count(path, given, word, where=where) for word in _COUNTS}
    return Weight(estimated=estimated, **counts)


def _count(path: Path, given: Mapping[str, Any], word: str, *, where: str) -> int:
    number = given.get(word)
    # (A bool is an int in Python.)
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong(path, f"{word!r}{where} is no whole number")
    if number < 0:
        raise _wrong(path, f"{word!r}{where} is negative")
    if number > _MOST:
        raise _wrong(path, f"{word!r}{where} is larger than PostgreSQL counts")
    return number


def _seconds(path: Path, given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _wrong(path, "'counted_s' is no number")
    # (Python reads NaN and Infinity, which JSON does not have.)
    if not 0 <= given <= _MOST:
        raise _wrong(path, "'counted_s' is no duration")
    return float(given)


def _wrong(path: Path, detail: str) -> SettingsError:
    return SettingsError(f"{path} is no file of statistics", detail=detail, hint=_HINT)
