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
    "FAMILIES",
    "NOT_REPEATABLE",
    "OWN",
    "REFUSED",
    "RULES",
    "UNUSED_ALLOW",
    "Claim",
    "Rule",
]

FAMILIES = (
    ("What migrate refuses as well", REFUSED),
    ("Chosen from squawk", CHOSEN_OF_SQUAWK),
    ("About the text", OWN),
    ("Measured by running the file", TRACED),
    ("About what the catalogue holds afterwards", CATALOGUE),
    ("About the rows of the target", LIVE),
    ("About the folder", FOLDER),
    ("About the directives", (UNUSED_ALLOW,)),
)
"""The rules by what finds them, with the title of each family."""

RULES = tuple(rule for _, rules in FAMILIES for rule in rules)
BY_ID = {rule.id: rule for rule in RULES}
