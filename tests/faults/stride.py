"""How much of a long loop is run: all of it, or each `FAULT_STRIDE`-th part, drawn anew each time.

`invoke test --slow` runs everything. CI runs after each change, and draws.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")

STRIDE = int(os.environ.get("FAULT_STRIDE", "1"))

DAY = int(os.environ.setdefault("FAULT_DAY", str(datetime.now(UTC).toordinal())))
"""A number for what several workers must draw alike: that of today, unless FAULT_DAY says another.

The first process that loads this says it to those that it starts.
"""


def drawn(cases: Sequence[T]) -> list[T]:
    """Give each `STRIDE`-th case, from one that is drawn; there is always one."""
    return list(cases[random.randrange(min(STRIDE, len(cases))) :: STRIDE])


def share(count: int, *, at_least: int) -> int:
    """Give how often to do what is done `count` times when there is time enough."""
    return max(at_least, count // STRIDE)
