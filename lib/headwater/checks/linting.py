"""Lint: what is wrong with the files, before anybody runs them.

The text layer, which needs no server: names and bytes, what `migrate` refuses, our own rules and
squawk's; and what an `allow` directive above a statement takes away again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from headwater.checks.allowing import without_allowed
from headwater.checks.folder import lock_findings
from headwater.checks.rules import BY_ID, CHOSEN_OF_SQUAWK, RULES
from headwater.checks.rules.rule import told
from headwater.checks.squawk import run_squawk
from headwater.checks.text_file import Learnt
from headwater.checks.textual import read_text
from headwater.errors import SettingsError
from headwater.files.accepted import Accepted
from headwater.files.down import down_of
from headwater.files.read import CHECKS
from headwater.files.refusals import check, check_all
from headwater.files.sentences import read_sentences
from headwater.model import Finding, Layer, Migration, MigrationFolder, Severity
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
    undoes a migration is read as migrate would read it; no rule of lint fits what only drops.
    """
    texts = read_texts(folder, versions)
    findings = [*texts.refused, *allowed_away(texts, texts.findings)]
    return Linted(findings=in_order(findings), files=texts.files, notes=texts.notes)


def lint_without_claims(folder: MigrationFolder, versions: Iterable[str]) -> Linted:
    """Lint, but for what only a trace can confirm: locks, scans and rewrites."""
    linted = lint(folder, versions)
    left = (f for f in linted.findings if f.rule not in BY_ID or not BY_ID[f.rule].claim)
    return replace(linted, findings=tuple(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What the texts of a folder say, before any allowance.

    `refused` is about the folder, checks, down files, and migrations that do not run: nothing of it
    can be allowed. `findings` are about the `accepted` files. `unread` names those that squawk did
    not look at.
    """

    accepted: tuple[Accepted, ...]
    refused: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    files: int
    notes: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()

    def judged(self, file: str) -> frozenset[str]:
        """Give the rules of the text layer that were looked at in one file."""
        return _TEXT_RULES - _SQUAWK_RULES if file in self.unread else _TEXT_RULES


_TEXT_RULES = frozenset(rule.id for rule in RULES if rule.layer is Layer.TEXT)
_SQUAWK_RULES = frozenset(rule.id for rule in CHOSEN_OF_SQUAWK)


def read_texts(folder: MigrationFolder, versions: Iterable[str] | None = None) -> Texts:
    """Read the texts of some versions of a folder (None: all, and `checks/`)."""
    chosen = set(versions) if versions is not None else None
    migrations = [m for m in folder.migrations if chosen is None or m.version in chosen]
    checks = folder.checks if chosen is None else ()
    read = text_findings(migrations)
    _, refused_downs = check_all(_downs(migrations))
    found = (*folder.findings, *lock_findings(folder), *read.refused, *refused_downs)
    refused = [_told(finding) for finding in found]
    for one in checks:
        refused += read_sentences(one.text, f"{CHECKS}/{one.path.name}").findings
    return Texts(
        accepted=read.accepted,
        refused=tuple(refused),
        findings=read.findings,
        files=len(migrations) + len(checks),
        notes=read.notes,
        unread=read.unread,
    )


def text_findings(migrations: Sequence[Migration]) -> Texts:
    """Judge migrations one after the other, in order; each is parsed once, and let go."""
    accepted, refused, reads, learnt = list[Accepted](), list[Finding](), [], Learnt()
    for migration in migrations:
        checked = check(migration, keep=True)
        if isinstance(checked, Accepted):
            accepted.append(checked)
            reads.append(read_text(checked, learnt))
            checked.let_go()
        else:
            refused += checked
    squawked = run_squawk(reads)
    own = (finding for read in reads for finding in read.findings)
    return Texts(
        accepted=tuple(accepted),
        refused=tuple(refused),
        findings=(*own, *squawked.findings),
        files=len(migrations),
        notes=squawked.notes,
        unread=squawked.unread,
    )


def allowed_away(
    texts: Texts, findings: Iterable[Finding], *, judged_too: Collection[str] = ()
) -> Iterator[Finding]:
    """Apply the allowances of every accepted file to what was found in it, by whatever layer.

    `judged_too` are rules of other layers that were looked at. What is about no such file stays.
    """
    by_file = dict[str, list[Finding]]()
    for finding in findings:
        by_file.setdefault(finding.file, []).append(finding)
    for file in texts.accepted:
        name = f"{file.migration.version}.sql"
        judged = texts.judged(name) | set(judged_too)
        yield from without_allowed(file, by_file.pop(name, ()), judged_rules=judged)
        file.let_go()
    for rest in by_file.values():
        yield from rest


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Give findings by file, line, column and rule."""
    return tuple(sorted(findings, key=lambda one: (one.file, one.line, one.column, one.rule)))


def _downs(migrations: Iterable[Migration]) -> Iterator[Migration]:
    """Give what undoes each migration as if it were one, called `VERSION.down`."""
    for migration in migrations:
        if migration.down is not None:
            yield down_of(migration)


def _told(finding: Finding) -> Finding:
    rule = BY_ID.get(finding.rule)
    return told(finding, rule) if rule else finding
