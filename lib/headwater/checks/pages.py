"""The pages of docs/rules, written from the rules themselves: one each, and the list of all.

`python -m headwater.checks.pages docs/rules` writes them anew after a rule has changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headwater.checks.rules import FAMILIES, RULES, Rule
from headwater.model import Layer

_INDEX: Final = "README.md"

_HEAD: Final = """\
# The rules of lint

[lint.md](../lint.md) says how they are applied, and how one is allowed. These pages are written by
`python -m headwater.checks.pages docs/rules`.
"""

_FOUND_BY = {
    Layer.TEXT: "reading the file; no server is needed",
    Layer.TRACE: "running the file on a scratch database",
    Layer.CATALOGUE: "comparing the catalogue before and after the file",
    Layer.LIVE: "asking the rows of the target (`invoke lint --live`)",
}


def pages() -> Iterator[tuple[str, str]]:
    """Give the name and the text of every page, the list first."""
    yield _INDEX, _index()
    for rule in RULES:
        yield f"{rule.id}.md", _page(rule)


def _index() -> str:
    parts = [_HEAD]
    for title, rules in FAMILIES:
        parts.append(f"## {title}\n")
        parts.append("| rule | severity | why |\n|---|---|---|")
        parts += [
            f"| [{rule.id}]({rule.id}.md) | {rule.severity.value} | {_cell(rule.why)} |"
            for rule in rules
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(rule: Rule) -> str:
    """Give the page of a rule: the problem, what is locked, an example, the safe form."""
    parts = [
        f"# {rule.id}\n",
        f"{rule.why}\n",
        f"Severity: {rule.severity.value}. {_found_by(rule)}",
    ]
    if rule.lock:
        parts.append(f"\nLock: {rule.lock}.")
    if rule.setup:
        parts.append(_example("Where there is", rule.setup))
    parts += [
        _example("Flagged", rule.bad),
        f"\n## Instead\n\n{_instead(rule)}",
        _example("Not flagged", rule.good),
    ]
    return "\n".join(parts) + "\n"


def _found_by(rule: Rule) -> str:
    found = f"Found by {_FOUND_BY[rule.layer]}."
    if rule.squawk:
        found += " The rule is one of [squawk](https://squawkhq.com)."
    if rule.claim:
        found += (
            f" It claims a {rule.claim.value}: where the trace measures that there is none, it is "
            "not shown."
        )
    return found


def _instead(rule: Rule) -> str:
    forms = [f"- From PostgreSQL {since} on: {form}." for since, form in rule.safe]
    if not forms:
        return f"{_sentence(rule.instead)}."
    return "\n".join([*forms, f"- Before that: {rule.instead}."])


def _sentence(text: str) -> str:
    """Let a sentence begin with a capital; a command is written as it is typed."""
    if text.startswith("invoke "):
        return f"`{text}`"
    return f"{text[0].upper()}{text[1:]}"


def _example(title: str, sql: str) -> str:
    return f"\n{title}:\n\n```sql\n{sql.rstrip()}\n```"


def rewrite(folder: Path) -> None:
    """Write every page, and remove those of rules that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    written = dict(pages())
    for old in folder.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
