"""What follows from a verdict: how long the work of a statement takes on a table of a weight."""

from __future__ import annotations

import pytest

from headwater.verdicts import WORK_BYTES_PER_SECOND, Effect, Weight

WEIGHT = Weight(
    rows=10, heap_bytes=2 * WORK_BYTES_PER_SECOND, index_bytes=3 * WORK_BYTES_PER_SECOND
)


def seconds(
    rewrite: str = "", scans: int = 0, builds: tuple[str, ...] = (), rows: int = 0
) -> float:
    effect = Effect(
        relation="kb.t", kind="table", rewrite=rewrite, scans=scans, builds=builds, rows=rows
    )
    return WEIGHT.seconds(effect)


@pytest.mark.parametrize(
    ("took", "expected"),
    [
        pytest.param(seconds(), 0, id="a lock alone"),
        pytest.param(
            seconds(rewrite="default", scans=4), 5, id="a rewrite: heap and indexes, once"
        ),
        pytest.param(seconds(scans=1), 2, id="a scan: the heap"),
        pytest.param(seconds(scans=2), 4, id="two scans"),
        pytest.param(seconds(builds=("i",)), 2, id="a build reads the heap"),
        pytest.param(seconds(scans=1, builds=("i",)), 2, id="whose scan may be counted already"),
        pytest.param(seconds(rows=100), 0, id="rows of a scratch database are not those here"),
    ],
)
def test_work_takes_as_long_as_what_it_goes_through(took: float, expected: float) -> None:
    assert took == expected
