"""Amounts in the words of people: `48 M rows`, `41 GB`, `about 12 min`.

Never more digits than anybody reads: one of the fraction below ten of a unit, else none. What is
rounded up to the next unit is told in that unit (`1 M`, never `1000 k`).
"""

from __future__ import annotations

from typing import Final

_COUNTS: Final = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))

# Units and borders are those of pg_size_pretty, which people compare with: 1024 bytes are 1 kB.
_BYTES: Final = ((1024**5, "PB"), (1024**4, "TB"), (1024**3, "GB"), (1024**2, "MB"), (1024, "kB"))

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400

# Of a unit that is more than one and a half of the next, that one is told: `90 s`, but `2 min`.
_DURATIONS: Final = (
    (1.5 * _MINUTE_S, 1, "s"),
    (1.5 * _HOUR_S, _MINUTE_S, "min"),
    (1.5 * _DAY_S, _HOUR_S, "h"),
)


def in_rows(count: int) -> str:
    """Give a number of rows: `1 row`, `999 rows`, `1.2 k rows`, `48 M rows`."""
    return "1 row" if count == 1 else f"{_scaled(count, _COUNTS)} rows"


def in_bytes(size: int) -> str:
    """Give a size: `512 bytes`, `8 kB`, `1.5 GB`, `41 GB`."""
    if size == 1:
        return "1 byte"
    scaled = _scaled(size, _BYTES)
    return scaled if " " in scaled else f"{scaled} bytes"


def in_time(seconds: float) -> str:
    """Give an estimate of a duration: `less than a second`, `about 45 s`, `about 12 min`."""
    if seconds < 1:
        return "less than a second"
    for limit, unit, word in _DURATIONS:
        if round(seconds) <= limit:
            return f"about {round(seconds / unit)} {word}"
    return f"about {round(seconds / _DAY_S)} days"


def _scaled(amount: int, units: tuple[tuple[int, str], ...]) -> str:
    """Give an amount in the largest unit that it reaches, once it is rounded."""
    for size, word in units:
        if amount >= size - size // 2_000:
            return f"{_rounded(amount / size)} {word}"
    return str(amount)


def _rounded(number: float) -> str:
    """Give a number with one digit of its fraction below ten, above with none."""
    # Halves go up, as people round; format() would make them even.
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else str(int(number + 0.5))
