"""Rules about the directives that allow something."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule
from headwater.model import Severity

UNUSED_ALLOW = Rule(
    id="unused-allow",
    severity=Severity.WARNING,
    why="It allows what is not there: the statement changed, or the rule is misspelt.",
    instead="remove the directive",
    bad="-- headwater: allow ban-drop-table because it was never used\nselect 1;",
    good="-- headwater: allow ban-drop-table because it was never used\ndrop table app.t;",
)
