"""Rules about what the rows of a target would do to a file."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule

LIVE: tuple[Rule, ...] = ()
