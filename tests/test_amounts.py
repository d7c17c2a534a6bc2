"""Amounts in words: at the borders of their units."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.amounts import in_bytes, in_rows, in_time


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 rows"),
        (1, "1 row"),
        (2, "2 rows"),
        (999, "999 rows"),
        (1_000, "1 k rows"),
        (1_249, "1.2 k rows"),
        (9_949, "9.9 k rows"),
        (9_950, "10 k rows"),
        (999_499, "999 k rows"),
        (999_500, "1 M rows"),
        (48_000_000, "48 M rows"),
        (999_500_000, "1 B rows"),
        (3_200_000_000, "3.2 B rows"),
        (5_000_000_000_000, "5000 B rows"),
    ],
)
def test_rows_are_told_in_the_unit_that_they_reach(count: int, words: str) -> None:
    assert in_rows(count) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 kB"),
        (8192, "8 kB"),
        (1536, "1.5 kB"),
        (1024**2 - 1, "1 MB"),
        (1024**2, "1 MB"),
        (41 * 1024**3, "41 GB"),
        (1024**4, "1 TB"),
        (2 * 1024**5, "2 PB"),
    ],
)
def test_bytes_have_the_borders_of_pg_size_pretty(size: int, words: str) -> None:
    assert in_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than a second"),
        (0.99, "less than a second"),
        (1, "about 1 s"),
        (90.4, "about 90 s"),
        (90.6, "about 2 min"),
        (733, "about 12 min"),
        (5_400, "about 90 min"),
        (5_401, "about 2 h"),
        (129_600, "about 36 h"),
        (129_601, "about 2 days"),
        (1_000_000, "about 12 days"),
    ],
)
def test_a_duration_is_told_roughly(seconds: float, words: str) -> None:
    assert in_time(seconds) == words


@given(st.integers(0, 10**15))
def test_more_is_never_told_as_less(count: int) -> None:
    scale = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}

    def told(number: int) -> float:
        found = re.fullmatch(r"([\d.]+) ?([kMB]?) rows?", in_rows(number))
        assert found
        return float(found[1]) * scale[found[2]]

    assert told(count) <= told(count + 1)
    assert abs(told(count) - count) <= 0.06 * count
