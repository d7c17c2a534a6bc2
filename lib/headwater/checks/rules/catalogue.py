"""Rules about what the catalogue holds after the files that it did not hold before."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule

CATALOGUE: tuple[Rule, ...] = ()
