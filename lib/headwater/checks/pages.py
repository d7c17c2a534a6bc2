"""The part of docs/lint.md that is written from the rules themselves.

`python -m headwater.checks.pages docs/lint.md` writes it anew after a rule has changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headwater.checks.rules import (
    CHOSEN_OF_SQUAWK,
    OWN,
    REFUSED,
    UNUSED_ALLOW,
    Rule,
)

MARK = "<!-- Everything below is written by `python -m headwater.checks.pages docs/lint.md`. -->\n"

_GROUPS = (
    ("What migrate refuses as well", REFUSED),
    ("Chosen from squawk", CHOSEN_OF_SQUAWK),
    ("Of our own, about the text", OWN),
    ("About the directives", (UNUSED_ALLOW,)),
)


def rules_page() -> str:
    """Give a section for each rule, in order, under the headings of their groups."""
    groups = ("\n".join([f"## {title}\n", *map(_section, rules)]) for title, rules in _GROUPS)
    return MARK + "\n" + "\n".join(groups)


def _section(rule: Rule) -> str:
    return (
        f"### {rule.id}\n\n"
        f"Severity: {rule.severity.value}. {rule.why}\n\n"
        f"Instead: {rule.instead}.\n\n"
        f"{_example('bad', rule.bad)}\n{_example('good', rule.good)}"
    )


def _example(word: str, sql: str) -> str:
    return f"```sql\n-- {word}:\n{sql.rstrip()}\n```\n"


def rewrite(page: Path) -> None:
    """Replace what stands below the mark of a page, and nothing above it."""
    above, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK}")
    page.write_text(above + rules_page(), encoding="utf-8")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
