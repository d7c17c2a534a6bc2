"""The rules of lint, each one object, in the families that find them."""

from __future__ import annotations

from headwater.checks.rules.catalogue import CATALOGUE
from headwater.checks.rules.chosen import CHOSEN_OF_SQUAWK
from headwater.checks.rules.directives import UNUSED_ALLOW
from headwater.checks.rules.folder import FOLDER
from headwater.checks.rules.live import LIVE
from headwater.checks.rules.own import NOT_REPEATABLE, OWN
from headwater.checks.rules.refused import REFUSED
from headwater.checks.rules.rule import EXAMPLE_SCHEMA, Claim, Rule
from headwater.checks.rules.traced import TRACED

__all__ = [
    "BY_ID",
    "CHOSEN_OF_SQUAWK",
    "EXAMPLE_SCHEMA",
    "NOT_REPEATABLE",
    "OWN",
    "REFUSED",
    "RULES",
    "UNUSED_ALLOW",
    "Claim",
    "Rule",
]

RULES = (
    *REFUSED,
    *CHOSEN_OF_SQUAWK,
    *OWN,
    *TRACED,
    *CATALOGUE,
    *LIVE,
    *FOLDER,
    UNUSED_ALLOW,
)
BY_ID = {rule.id: rule for rule in RULES}
