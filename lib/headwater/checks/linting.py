"""Lint: what is wrong with the files, before anybody runs them.

The text layer, which needs no server: names and bytes, what `migrate` refuses, squawk's rules; and
what an `allow` directive above a statement takes away again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from headwater.checks.folder import lock_findings
from headwater.checks.repeatable import not_repeatable
from headwater.checks.rules import BY_ID, UNUSED_ALLOW
from headwater.checks.squawk import run_squawk
from headwater.errors import SettingsError
from headwater.files.accepted import Accepted
from headwater.files.directives import allowed_rules
from headwater.files.down import down_of
from headwater.files.grammar import Script, Statement
from headwater.files.read import CHECKS
from headwater.files.refusals import check_all
from headwater.files.sentences import read_sentences
from headwater.files.text import line_at, place
from headwater.model import Finding, Migration, MigrationFolder, Severity
from headwater.verdicts import Linted


def severity(name: str) -> Severity:
    """Read the name of a severity. Raises SettingsError for any other word."""
    try:
        return Severity(name)
    except ValueError:
        raise SettingsError(
            f"{name!r} is no severity", hint="--fail-on takes info, warning or error"
        ) from None


def lint(folder: MigrationFolder, versions: Iterable[str] | None = None) -> Linted:
    """Lint the files of some versions (None: all, and `checks/`); the folder as a whole always.

    Findings come in order of file and line. A note says what could not be looked at. A file that
    undoes a migration is read as migrate would read it; no rule of squawk fits what only drops.
    """
    chosen = set(versions) if versions is not None else None
    migrations = [m for m in folder.migrations if chosen is None or m.version in chosen]
    checks = folder.checks if chosen is None else ()
    accepted, refused = check_all(migrations)
    _, refused_downs = check_all(_downs(migrations))
    squawked = run_squawk(accepted)
    findings = [
        *folder.findings,
        *lock_findings(folder),
        *map(_with_hint, (*refused, *refused_downs)),
    ]
    for check in checks:
        findings += read_sentences(check.text, f"{CHECKS}/{check.path.name}").findings
    for file in accepted:
        own = [f for f in squawked.findings if f.file == f"{file.migration.version}.sql"]
        own += not_repeatable(file)
        findings += _without_allowed(file, own, judged=not squawked.note)
    findings.sort(key=lambda finding: (finding.file, finding.line, finding.column, finding.rule))
    return Linted(
        findings=tuple(findings),
        files=len(migrations) + len(checks),
        notes=(squawked.note,) if squawked.note else (),
    )


def _downs(migrations: Iterable[Migration]) -> Iterator[Migration]:
    """Give what undoes each migration as if it were one, called `VERSION.down`."""
    for migration in migrations:
        if migration.down is not None:
            yield down_of(migration)


def _with_hint(finding: Finding) -> Finding:
    rule = BY_ID.get(finding.rule)
    return replace(finding, hint=rule.instead) if rule and not finding.hint else finding


# --- allow ------------------------------------------------------------------------------------


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
        begin, end = place(script.text, statement.start), place(script.text, statement.end)
        found += [Allowance(rule=rule, line=comment.line, begin=begin, end=end) for rule in rules]
    return tuple(found)


def _next_statement(script: Script, position: int) -> Statement | None:
    return next((s for s in script.statements if s.start >= position), None)


def _without_allowed(file: Accepted, findings: list[Finding], *, judged: bool) -> list[Finding]:
    """Take away what is allowed, and add a finding for each allowance that allows nothing."""
    allowed = allowances(file.script)
    left = [f for f in findings if not any(a.covers(f) for a in allowed)]
    for allowance in allowed:
        idle = not any(allowance.covers(finding) for finding in findings)
        if idle and (judged or allowance.rule not in BY_ID):
            left.append(_unused(file, allowance))
    return left


def _unused(file: Accepted, allowance: Allowance) -> Finding:
    known = "" if allowance.rule in BY_ID else ": there is no such rule"
    return Finding(
        rule=UNUSED_ALLOW.id,
        severity=UNUSED_ALLOW.severity,
        message=f"allow {allowance.rule} allows nothing{known}",
        file=f"{file.migration.version}.sql",
        line=allowance.line,
        column=1,
        hint=UNUSED_ALLOW.instead,
        source=line_at(file.script.text, allowance.line),
    )
