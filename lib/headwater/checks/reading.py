"""What the grammar says of a whole folder, found once and kept by the hash of all its texts.

Grammar files need not be parsed again: what verify wants to know of them follows from their bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from headwater.checks.kept import keep, key_of, recall
from headwater.files.accepted import Accepted, Sentence
from headwater.files.down import down_of
from headwater.model import Finding, Migration, MigrationFolder, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What the grammar says of files: what is wrong, and what verify wants to know of the rest."""

    findings: tuple[Finding, ...] = ()
    sentences: tuple[Sentence, ...]
    """Those of the checks."""
    post_conditions: int
    """How many sentences the post-conditions hold."""
    escaping: tuple[Finding, ...]
    """Statements that reach beyond their database."""
    escaping_by_roles: tuple[Finding, ...]
    """Those that change roles: they do so where somebody else has roles."""

    def escapes(self, *, ours: bool) -> tuple[Finding, ...]:
        """Give what must not run on a server; `ours` says that nobody else has roles there."""
        return self.escaping if ours else (*self.escaping, *self.escaping_by_roles)


def read_grammar(folder: MigrationFolder) -> Grammar:
    """Parse every file of a folder, unless that was done before and nothing was wrong.

    (The findings of the folder itself, about names and bytes, are not repeated.)
    """
    key = _key(folder)
    if kept := _of_form(recall("grammar", key)):
        return kept
    found = _parse(folder)
    if not found.findings:
        keep("grammar", key, asdict(found))
    return found


def grammar_of(migrations: Sequence[Migration]) -> Grammar:
    """Parse some files, with their post-conditions."""
    from headwater.files.refusals import check_all

    accepted, findings = check_all(migrations)
    return replace(grammar_of_accepted(accepted), findings=findings)


def grammar_of_accepted(accepted: Sequence[Accepted]) -> Grammar:
    """Say what verify wants to know of files that the parser has accepted."""
    from headwater.files.serverwide import escaping

    ours, others = list[Finding](), list[Finding]()
    for file in accepted:
        name = f"{file.migration.version}.sql"
        ours += escaping(file.script, name, roles=False)
        others += escaping(file.script, name, roles=True)
        file.let_go()
    return Grammar(
        sentences=(),
        post_conditions=sum(len(file.sentences) for file in accepted),
        escaping=tuple(ours),
        escaping_by_roles=tuple(finding for finding in others if finding not in ours),
    )


def _parse(folder: MigrationFolder) -> Grammar:
    from headwater.files.sentences import read_sentences

    downs = [down_of(migration) for migration in folder.migrations if migration.down is not None]
    grammar = grammar_of([*folder.migrations, *downs])
    checks = [read_sentences(file.text, f"checks/{file.path.name}") for file in folder.checks]
    return replace(
        grammar,
        findings=(*grammar.findings, *(finding for read in checks for finding in read.findings)),
        sentences=tuple(sentence for read in checks for sentence in read.sentences),
    )


# --- keeping ----------------------------------------------------------------------------------


def _key(folder: MigrationFolder) -> str:
    """Give the key of what the grammar says of these texts."""
    texts = [(m.version, m.checksum, m.verify, m.down) for m in folder.migrations]
    checks = [(file.path.name, file.text) for file in folder.checks]
    return key_of(texts, checks)


def _of_form(form: Any) -> Grammar | None:
    """Read an answer that was kept; None when it cannot be understood."""
    try:
        return Grammar(
            sentences=tuple(Sentence(**each) for each in form["sentences"]),
            post_conditions=int(form["post_conditions"]),
            escaping=tuple(map(_finding, form["escaping"])),
            escaping_by_roles=tuple(map(_finding, form["escaping_by_roles"])),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _finding(form: dict[str, Any]) -> Finding:
    return Finding(**{**form, "severity": Severity(form["severity"])})
