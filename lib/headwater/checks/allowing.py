"""What an `allow` directive above a statement takes away, and what it no longer does."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from headwater.checks.rules import BY_ID, UNUSED_ALLOW
from headwater.files.accepted import Accepted
from headwater.files.directives import allowed_rules
from headwater.files.grammar import Script, Statement
from headwater.files.text import line_at
from headwater.model import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """One rule that a directive allows for one statement."""

    rule: str
    line: int
    begin: tuple[int, int]
    """Line and column where the statement begins, and where it ends."""
    end: tuple[int, int]

    def covers(self, finding: Finding) -> bool:
        """Say whether a finding is what this allows."""
        return finding.rule == self.rule and self.begin <= (finding.line, finding.column) < self.end


def allowances(script: Script) -> tuple[Allowance, ...]:
    """Read the `allow` directives of a script, each with the statement that stands below it."""
    found = list[Allowance]()
    for comment in script.comments:
        rules = allowed_rules(comment.text)
        statement = _next_statement(script, comment.start)
        if not rules or statement is None:
            continue
        begin, end = script.places.of(statement.start), script.places.of(statement.end)
        found += [Allowance(rule=rule, line=comment.line, begin=begin, end=end) for rule in rules]
    return tuple(found)


def _next_statement(script: Script, position: int) -> Statement | None:
    return next((s for s in script.statements if s.start >= position), None)


def without_allowed(
    file: Accepted, findings: Iterable[Finding], *, judged_rules: Collection[str]
) -> list[Finding]:
    """Take away what is allowed, and add a finding for each allowance that allows nothing.

    `findings` are all that the layers have found in this file; `judged_rules` are those that were
    looked at, so that nobody is told to remove an allowance of what was not. A rule that does not
    exist is told in any case.
    """
    findings = list(findings)
    if "headwater:" not in file.migration.text:
        return findings
    allowed = allowances(file.script)
    left = [f for f in findings if not any(a.covers(f) for a in allowed)]
    for allowance in allowed:
        idle = not any(allowance.covers(finding) for finding in findings)
        if idle and (allowance.rule in judged_rules or allowance.rule not in BY_ID):
            left.append(_unused(file, allowance))
    return left


def _unused(file: Accepted, allowance: Allowance) -> Finding:
    known = "" if allowance.rule in BY_ID else ": there is no such rule"
    source = line_at(file.script.text, allowance.line)
    return UNUSED_ALLOW.finding(
        file=f"{file.migration.version}.sql",
        line=allowance.line,
        column=len(source) - len(source.lstrip()) + 1,
        end=(allowance.line, len(source) + 1),
        source=source,
        message=f"allow {allowance.rule} allows nothing{known}",
    )
