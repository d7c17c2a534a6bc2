"""Lint in all its layers: what the text says, what running it shows, what the rows of a target say.

Each layer is usable alone (linting, tracing, catalogue, live); here they are put together: what
the text claims about locks, scans and rewrites is shown only where it was measured, what was
measured and nobody claimed is added, and the sizes of the target say how much it matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater.checks.folder import base_findings
from headwater.checks.linting import Texts, allowed_away, in_order, read_texts
from headwater.checks.measured import judged, of_the_catalogue, told
from headwater.checks.rules import RULES
from headwater.checks.tracing import Tracing, trace_files
from headwater.checks.weighing import weigh
from headwater.files.lockfile import LOCK
from headwater.files.read import CHECKS
from headwater.model import Finding, Layer, MigrationFolder, Notify, Severity, Target, ignore
from headwater.postgres.run import pending
from headwater.settings import Settings
from headwater.verdicts import Linted, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files count (None: all, and `checks/`), and the base that they are compared with."""

    versions: frozenset[str] | None
    base: str = ""

    def counts(self, version: str) -> bool:
        """Say whether a version is linted."""
        return self.versions is None or version in self.versions

    def files(self, folder: MigrationFolder) -> tuple[str, ...]:
        """Name the files that are linted, seen from the folder."""
        checks = folder.checks if self.versions is None else ()
        return (
            *(f"{m.version}.sql" for m in folder.migrations if self.counts(m.version)),
            *(f"{CHECKS}/{check.path.name}" for check in checks),
        )


def select(
    folder: MigrationFolder,
    settings: Settings,
    target: Target | None,
    *,
    all: bool,  # noqa: A002 - the name of the flag
    base: str,
) -> Selection:
    """Say which files count: those that are new since a base, or all, or those that are pending.

    Without a target, nobody knows what is pending: all of them count then.
    """
    if base and not all:
        from headwater.files.git import new_since

        return Selection(versions=new_since(settings.root, folder.path, base), base=base)
    if all or target is None:
        return Selection(versions=None, base=base)
    return Selection(versions=frozenset(pending(target, folder, settings)))


def lint_text(folder: MigrationFolder, settings: Settings, selection: Selection) -> Linted:
    """Lint what the text says, and nothing else: no server is asked."""
    texts = read_texts(folder, selection.versions)
    findings = [
        *texts.refused,
        *_based(folder, settings, selection),
        *allowed_away(texts, texts.findings),
    ]
    return Linted(findings=in_order(findings), files=texts.files, notes=texts.notes)


def lint_target(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    selection: Selection,
    *,
    live: bool = False,
    weights: Weights | None = None,
    notify: Notify = ignore,
) -> Linted:
    """Lint in all layers; `live` asks the rows of the target, `weights` are from elsewhere.

    The target is only read. Where something cannot be looked at, a note says so. Raises only when
    the target cannot be reached, or git cannot say what the base is.
    """
    texts = read_texts(folder, selection.versions)
    based = _based(folder, settings, selection)
    tracing = _traced(target, folder, settings, selection, texts, notify)
    findings = [*_layered(texts, tracing)]
    notes = [*texts.notes, *tracing.notes, *tracing.lost]
    # An allowance is unused only where all of its layer was looked at.
    asked = {Layer.TRACE, Layer.CATALOGUE} if tracing.is_whole else set()
    if live:
        from headwater.checks.live import look_at_live

        # What is applied has met the rows already.
        still = set(pending(target, folder, settings))
        ahead = [file for file in texts.accepted if file.migration.version in still]
        seen = look_at_live(target, ahead, settings, notify=notify)
        weights = weights or seen.weights
        findings += seen.findings
        notes += seen.notes
        asked |= set() if seen.notes else {Layer.LIVE}
    if weights:
        findings = [*weigh(findings, tracing.traces, weights)]
    judged_too = frozenset(rule.id for rule in RULES if rule.layer in asked)
    left = allowed_away(texts, findings, judged_too=judged_too)
    return Linted(
        # That a file does not run cannot be allowed, as what migrate refuses cannot.
        findings=in_order([*texts.refused, *based, *tracing.failures, *left]),
        files=texts.files,
        notes=tuple(notes),
        traces=tracing.traces,
        weights=weights,
    )


def _traced(  # noqa: PLR0913, PLR0917 - what lint_target was given
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    selection: Selection,
    texts: Texts,
    notify: Notify,
) -> Tracing:
    """Trace the files, unless there are some that would not run."""
    errors = (finding for finding in texts.refused if finding.severity is Severity.ERROR)
    if any(finding.file != LOCK for finding in errors):
        return Tracing(version=0, notes=("nothing was run: first mend what migrate refuses",))
    if not texts.accepted:
        return Tracing(version=0)
    before = [m.version for m in folder.migrations if not selection.counts(m.version)]
    return trace_files(target, folder, settings, before=before, files=texts.accepted, notify=notify)


def _based(
    folder: MigrationFolder, settings: Settings, selection: Selection
) -> tuple[Finding, ...]:
    return base_findings(folder, settings.root, selection.base) if selection.base else ()


def _layered(texts: Texts, tracing: Tracing) -> Iterator[Finding]:
    """Give what text, trace and catalogue say of each file."""
    traces = {traced.version: number for number, traced in enumerate(tracing.traces)}
    for file in texts.accepted:
        name = f"{file.migration.version}.sql"
        claimed = [finding for finding in texts.findings if finding.file == name]
        number = traces.get(file.migration.version)
        if number is None:
            yield from claimed
            continue
        traced = tracing.traces[number]
        kept = judged(claimed, file, traced, version=tracing.version)
        yield from kept
        yield from told(file, traced, kept, version=tracing.version)
        yield from of_the_catalogue(file, tracing.facts[number], kept, version=tracing.version)
        file.let_go()
