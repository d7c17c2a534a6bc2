"""The draft of a fix: from the texts of pending files to texts, without a server.

Each file is looked at with what the files before it have made; a statement that cannot be helped
stays, with a sentence that says why.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from headwater.checks.fixing_hazards import Case, treat
from headwater.checks.fixing_known import Known, commands_of, enum_name
from headwater.checks.fixing_order import settle
from headwater.checks.fixing_parts import CannotFix, Phase, Treatment, mentions
from headwater.checks.fixing_text import (
    NO_TRANSACTION,
    STEPS,
    Texts,
    cut_out,
    name_behind,
    write,
    write_outside,
)
from headwater.files.directives import allowed_rules, read_header
from headwater.files.grammar import NotParsed, Script, Statement, parse
from headwater.files.refusals import check
from headwater.files.text import checksum, line_at
from headwater.model import Finding, Migration, MigrationFolder, Severity
from headwater.verdicts import FixedFile, Fixes

RULE = "not-fixed"


def draft_fixes(
    folder: MigrationFolder, pending: Collection[str], *, version: int, today: date
) -> Fixes:
    """Draft the safe sequences of pending files for a server's major version.

    `today` names steps that cannot have the date of their file. Nothing is written. Files that
    migrate would refuse are left to lint.
    """
    drafting = _Drafting(folder=folder, version=version, today=today, pending=frozenset(pending))
    for migration in folder.migrations:
        drafting.look_at(migration)
    return Fixes(
        replaced=tuple(drafting.replaced),
        added=tuple(drafting.added),
        left=tuple(sorted(drafting.left, key=lambda found: (found.file, found.line))),
    )


def with_fixes(folder: MigrationFolder, fixes: Fixes) -> MigrationFolder:
    """Give the folder as it will be, read from the texts of the fixes."""
    texts = {file.name.removesuffix(".sql"): file.text for file in (*fixes.replaced, *fixes.added)}
    there = {m.version: m for m in folder.migrations}
    names = there.keys() | {name for name in texts if "." not in name}
    return replace(
        folder,
        migrations=tuple(_migration(name, there.get(name), texts) for name in sorted(names)),
    )


def _migration(version: str, there: Migration | None, texts: Mapping[str, str]) -> Migration:
    text = texts.get(version, there.text if there else "")
    return Migration(
        version=version,
        text=text,
        checksum=checksum(text),
        directives=read_header(text),
        verify=there.verify if there else None,
        down=texts.get(f"{version}.down", there.down if there else None),
    )


@dataclass(slots=True, kw_only=True)
class _Drafting:
    """A folder that is walked in order, with all that was found on the way."""

    folder: MigrationFolder
    version: int
    today: date
    pending: frozenset[str]
    known: Known = field(default_factory=Known)
    replaced: list[FixedFile] = field(default_factory=list)
    added: list[FixedFile] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)

    def look_at(self, migration: Migration) -> None:
        """Fix one file if it is pending, and learn what it makes."""
        try:
            script = parse(migration.text)
        except NotParsed:
            return
        if migration.version in self.pending and not isinstance(check(migration), tuple):
            self._fix(migration, script)
        else:
            self.known.take(script)

    def _fix(self, migration: Migration, script: Script) -> None:
        verdict = settle(script, self._treatments(migration, script))
        for statement, why in verdict.left:
            self._leave(migration, script, statement, why)
        if not verdict.treatments:
            return
        try:
            self._write(migration, script, verdict.treatments)
        except CannotFix as error:
            for each in verdict.treatments:
                self._leave(migration, script, each.statement, str(error))

    def _treatments(self, migration: Migration, script: Script) -> list[Treatment]:
        """Judge each statement with what is known before it."""
        made, dropped, found = Known(), False, list[Treatment]()
        allowed = set(_allowed(script))
        unsettled = _sets_session(script)
        for statement in script.statements:
            case = Case(
                script=script,
                statement=statement,
                known=self.known,
                made=made,
                version=self.version,
                dropped=dropped,
            )
            try:
                treatment = None if statement.start in allowed else treat(case)
                if treatment and treatment.pieces and unsettled:
                    raise CannotFix(f"{unsettled} of this file would not count in the next one")
                found += [treatment] if treatment else []
            except CannotFix as error:
                self._leave(migration, script, statement, str(error))
            dropped = dropped or _drops(statement)
            self.known.learn(statement)
            made.learn(statement)
        return found

    def _leave(self, migration: Migration, script: Script, statement: Statement, why: str) -> None:
        self.left.append(
            Finding(
                rule=RULE,
                severity=Severity.INFO,
                message=f"left as it is: {why}",
                file=f"{migration.version}.sql",
                line=statement.line,
                column=statement.column,
                source=line_at(script.text, statement.line),
            )
        )

    # --- writing ------------------------------------------------------------------------------

    def _write(self, migration: Migration, script: Script, treatments: Sequence[Treatment]) -> None:
        if not migration.transactional:
            text = write_outside(script, treatments)
            self.replaced.append(FixedFile(name=f"{migration.version}.sql", text=text))
            return
        title = migration.description.replace("_", " ").capitalize()
        texts = write(script, treatments, title=title, header=migration.directives)
        names = self._names(migration, texts)
        _require_verify(migration, treatments, behind=bool(names))
        downs = _downs(migration, texts, names) if migration.down and names else ()
        self.replaced.append(FixedFile(name=f"{migration.version}.sql", text=texts.file))
        self.added += [
            FixedFile(name=f"{names[phase]}.sql", text=texts.behind[phase]) for phase in names
        ]
        for name, text in downs:
            ours = name == f"{migration.version}.down.sql"
            (self.replaced if ours else self.added).append(FixedFile(name=name, text=text))

    def _names(self, migration: Migration, texts: Texts) -> dict[Phase, str]:
        taken = {m.version for m in self.folder.migrations}
        taken |= {file.name.removesuffix(".sql") for file in self.added}
        later = sorted(version for version in self.pending if version > migration.version)
        names = dict[Phase, str]()
        for phase in texts.behind:
            names[phase] = name_behind(
                migration.version, STEPS[phase], taken, later, f"{self.today:%Y%m%d}"
            )
            taken.add(names[phase])
        return names


def _allowed(script: Script) -> Iterator[int]:
    """Give where each statement begins that has a directive above it: a person has decided."""
    for comment in script.comments:
        if allowed_rules(comment.text):
            yield from [s.start for s in script.statements if s.start > comment.start][:1]


# Settings that say how long is waited, and nothing about what is done.
_PATIENCE = ("lock_timeout", "statement_timeout", "maintenance_work_mem", "work_mem")


def _sets_session(script: Script) -> str:
    """Name the statement by which a file sets what statements mean; they must stay behind it."""
    for statement in script.statements:
        if statement.kind == "variable_set_stmt" and statement.node.name not in _PATIENCE:
            return " ".join(statement.text.split()[:2])
        if statement.kind == "select_stmt" and "set_config" in statement.text.lower():
            return "set_config"
    return ""


def _drops(statement: Statement) -> bool:
    if statement.kind == "drop_stmt":
        return enum_name(statement.node, "remove_type") == "OBJECT_INDEX"
    if statement.kind == "alter_table_stmt":
        return any(kind == "AT_DropConstraint" for kind, _, _ in commands_of(statement.node))
    return False


# --- siblings ---------------------------------------------------------------------------------

_CATALOGUES = re.compile(r"\bpg_|\binformation_schema\b", re.IGNORECASE)


def _require_verify(migration: Migration, treatments: Sequence[Treatment], *, behind: bool) -> None:
    """Refuse where a post-condition may ask for what comes later."""
    text = migration.verify
    if text is None or not behind:
        return
    names = sorted(name for each in treatments for name in each.names if mentions(text, name))
    asks = f"of {names[0]}" if names else "of the catalogue"
    if names or _CATALOGUES.search(text):
        raise CannotFix(
            f"{migration.version}.verify.sql asks {asks}, and would be asked too early: move it to "
            "a check, or write the steps by hand"
        )


def _downs(
    migration: Migration, texts: Texts, names: Mapping[Phase, str]
) -> tuple[tuple[str, str], ...]:
    """Give a down file for every step, and that of the file itself, if it must change."""
    down = f"{migration.version}.down.sql"
    if not all(texts.undos.values()):
        raise CannotFix(f"{down} would have to be split, and how is not sure")
    downs = list[tuple[str, str]]()
    for phase, name in names.items():
        head = NO_TRANSACTION if phase is Phase.OUTSIDE else ""
        undos = "".join(f"{undo};\n" for undo in texts.undos[phase])
        downs.append((f"{name}.down.sql", head + undos))
    script = parse(migration.down or "")
    moved = [s for s in script.statements if _takes_back(s, texts.gone, down)]
    if len(moved) == len(script.statements):
        raise CannotFix(f"{down} takes back nothing but what would move")
    return (*downs, (down, cut_out(script, moved))) if moved else tuple(downs)


def _takes_back(statement: Statement, gone: Collection[str], down: str) -> bool:
    """Say whether a statement of a down file drops one thing that moves, and nothing else.

    With IF EXISTS it may stay. Raises CannotFix for any other that speaks of what moves.
    """
    if not any(mentions(statement.text, name) for name in gone):
        return False
    node = statement.node
    if statement.kind == "drop_stmt" and enum_name(node, "remove_type") == "OBJECT_INDEX":
        if node.missing_ok:
            return False
        if len(node.objects) == 1:
            return True
    raise CannotFix(f"line {statement.line} of {down} speaks of what would move")
