"""Lint in all its layers: what the text says, what running it shows, what the rows of a target say.

Each layer is usable alone (linting, tracing, catalogue, live); here they are put together: what
the text claims about locks, scans and rewrites is shown only where it was measured, what was
measured and nobody claimed is added, and the sizes of the target say how much it matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from headwater.checks.folder import base_findings
from headwater.checks.linting import Texts, allowed_away, in_order, read_texts
from headwater.checks.measured import judged, of_the_catalogue, told
from headwater.checks.rules import RULES
from headwater.checks.tracing import Tracing, trace_files
from headwater.model import Finding, Layer, MigrationFolder, Notify, Target, ignore
from headwater.settings import Settings
from headwater.verdicts import Linted, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files count (None: all, and `checks/`), and the base that they are compared with."""

    versions: tuple[str, ...] | None
    base: str = ""

    def counts(self, version: str) -> bool:
        """Say whether a version is linted."""
        return self.versions is None or version in self.versions


def lint_text(
    folder: MigrationFolder, settings: Settings, selection: Selection, *, today: date
) -> Linted:
    """Lint what the text says, and nothing else: no server is asked."""
    texts = read_texts(folder, selection.versions)
    based = _based(folder, settings, selection, today)
    findings = [*texts.refused, *based, *allowed_away(texts, texts.findings)]
    return Linted(findings=in_order(findings), files=texts.files, notes=texts.notes)


def lint_target(  # noqa: PLR0913 - each is named by its caller
    target: Target,
    folder: MigrationFolder,
    settings: Settings,
    selection: Selection,
    *,
    today: date,
    live: bool = False,
    weights: Weights | None = None,
    notify: Notify = ignore,
) -> Linted:
    """Lint in all layers; `live` asks the rows of the target, `weights` are from elsewhere.

    The target is only read. Where something cannot be looked at, a note says so. Raises only when
    the target cannot be reached, or git cannot say what the base is.
    """
    texts = read_texts(folder, selection.versions)
    based = _based(folder, settings, selection, today)
    notes = list(texts.notes)
    tracing = Tracing(version=0)
    if sound := not texts.refused:
        before = [m.version for m in folder.migrations if not selection.counts(m.version)]
        tracing = trace_files(
            target, folder, settings, before=before, files=texts.accepted, notify=notify
        )
    else:
        notes.append("nothing was run: that needs files that migrate does not refuse")
    findings = [*_layered(texts, tracing), *tracing.failures]
    seen = {Layer.TEXT}
    if sound and tracing.traces:
        seen |= {Layer.TRACE, Layer.CATALOGUE}
    judged_too = frozenset(rule.id for rule in RULES if rule.layer in seen - {Layer.TEXT})
    findings = [*texts.refused, *based, *allowed_away(texts, findings, judged_too=judged_too)]
    return Linted(
        findings=in_order(findings),
        files=texts.files,
        notes=(*notes, *tracing.notes, *_lost(tracing)),
        traces=tracing.traces,
        weights=weights,
    )


def _based(
    folder: MigrationFolder, settings: Settings, selection: Selection, today: date
) -> tuple[Finding, ...]:
    if not selection.base:
        return ()
    return base_findings(folder, settings.root, selection.base, today=today)


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
        kept = judged(claimed, file, traced)
        yield from kept
        yield from told(file, traced, kept, version=tracing.version)
        yield from of_the_catalogue(file, tracing.facts[number], kept, version=tracing.version)
        file.let_go()


def _lost(tracing: Tracing) -> Sequence[str]:
    """Give the notes of all traces, each once."""
    return list(dict.fromkeys(note for traced in tracing.traces for note in traced.notes))
