"""What the formats of lint share: where findings stand, what tells them apart, their rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from headwater.model import Finding, Severity
from headwater.verdicts import Linted


class RuleFacts(Protocol):
    """What a format tells of a rule; the rules of lint are such, and so is `KnownRule`."""

    @property
    def id(self) -> str: ...  # noqa: D102 - said by their names
    @property
    def severity(self) -> Severity: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def instead(self) -> str: ...  # noqa: D102
    @property
    def page(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRule:
    """A rule as far as its findings tell of it."""

    id: str
    severity: Severity
    why: str
    instead: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where lint was run, and how: what a format says beside the findings themselves."""

    folder: str = "migrations"
    """The folder of migrations, seen from the root of the repository, with slashes."""
    threshold: Severity = Severity.ERROR
    """From which severity on lint fails."""
    version: str = ""
    """Headwater's."""
    files: tuple[str, ...] = ()
    """The files that were looked at, seen from the folder; at least those without findings."""
    rules: tuple[RuleFacts, ...] = ()
    """The rules that were asked, as far as they are known beside those of the findings."""
    pages: str = ""
    """The URL below which the pages of the rules are, if there is one."""

    def path(self, file: str) -> str:
        """Give a file as it is seen from the root of the repository; the folder for no file."""
        return (PurePosixPath(self.folder) / file).as_posix()

    def fails(self, finding: Finding) -> bool:
        """Say whether a finding is at or above the threshold."""
        return finding.severity.rank >= self.threshold.rank

    def url_of(self, page: str) -> str:
        """Give the URL of a page; nothing where no page or no base is known."""
        return f"{self.pages.rstrip('/')}/{page}" if self.pages and page else ""


def folder_in_repository(project: Path, folder: Path) -> str:
    """Give a folder as the repository around a project knows it; as it is where it is outside.

    The repository is the nearest folder with a `.git`, from the project upwards; else the project.
    """
    around = (each for each in (project, *project.parents) if (each / ".git").exists())
    root = next(around, project)
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix()


def on_one_line(finding: Finding) -> bool:
    """Say whether a finding ends on the line that it begins on, as far as that is known."""
    return finding.end_line in (0, finding.line)


def details(finding: Finding) -> list[str]:
    """Give what a finding says beside its message, a paragraph each: facts, reason, safe form."""
    why = finding.why if finding.why != finding.message else ""
    hint = f"Instead: {finding.hint}" if finding.hint else ""
    page = f"See {finding.page}" if finding.page else ""
    return [text for text in (finding.measured, why, hint, page) if text]


def fingerprints(findings: Iterable[Finding], place: Place) -> list[str]:
    """Give each finding what tells it from the others, in every run of lint: 64 hex digits.

    It follows from the rule, the file, the relation and the text of the line, or the message where
    there is none; never from numbers of lines, which change with what stands above, nor from what
    was measured. Findings that are alike in all of these are counted.
    """
    counted = dict[str, int]()
    given = []
    for finding in findings:
        said = finding.source.strip() or finding.message
        parts = (finding.rule, place.path(finding.file), finding.relation, said)
        key = "\0".join(parts)
        counted[key] = counted.get(key, 0) + 1
        text = f"{key}\0{counted[key]}"
        given.append(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest())
    return given


def files_of(outcome: Linted, place: Place) -> list[str]:
    """Give every file that is known to have been looked at, in order of name."""
    named = {finding.file for finding in outcome.findings if finding.file}
    traced = {f"{trace.version}.sql" for trace in outcome.traces}
    return sorted({*place.files, *named, *traced})


def rules_of(outcome: Linted, place: Place) -> list[RuleFacts]:
    """Give the rules that were asked, and behind them those that only findings tell of."""
    known: dict[str, RuleFacts] = {rule.id: rule for rule in place.rules}
    for finding in outcome.findings:
        if finding.rule not in known:
            known[finding.rule] = KnownRule(
                id=finding.rule,
                severity=finding.severity,
                why=finding.why or finding.message,
                instead=finding.hint,
                page=finding.page,
            )
    return list(known.values())


def readable(outcome: Linted) -> Linted:
    """Replace what no UTF-8 can hold: a file's name may be of bytes that are none."""
    return replace(
        outcome,
        findings=tuple(map(_readable, outcome.findings)),
        notes=tuple(map(without_surrogates, outcome.notes)),
    )


def _readable(finding: Finding) -> Finding:
    return replace(
        finding,
        rule=without_surrogates(finding.rule),
        message=without_surrogates(finding.message),
        file=without_surrogates(finding.file),
        hint=without_surrogates(finding.hint),
        source=without_surrogates(finding.source),
        why=without_surrogates(finding.why),
        measured=without_surrogates(finding.measured),
        relation=without_surrogates(finding.relation),
    )


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate by the sign for what cannot be read."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
