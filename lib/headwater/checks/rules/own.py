"""Rules of our own about the text: what the parse tree shows and squawk does not look for."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Severity

NOT_REPEATABLE = Rule(
    id="not-repeatable",
    severity=Severity.WARNING,
    why="It stays when reset drops the schemas, and the file fails on it the next time.",
    instead="IF NOT EXISTS, DROP … IF EXISTS above it, or a DO block that looks first",
    bad="create publication changes;",
    good="drop publication if exists changes;\ncreate publication changes;",
)

OWN = (NOT_REPEATABLE,)
