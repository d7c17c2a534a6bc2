"""Rules about what running a file on a scratch database has shown."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule

TRACED: tuple[Rule, ...] = ()
