"""Verify: prove that the files and the database are the same thing.

Six lines, always all of them: files; rebuild from zero in a scratch database; post-conditions;
checks; drift; lint of what is pending. On the target it only SELECTs.

The scratch database is built in two stages: what history says is applied, which is compared with
the target, and then what is pending, so that pending work is never drift and is still proven.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from headwater.checks.linting import lint
from headwater.checks.scratch import scratch_server
from headwater.errors import FilesError, HeadwaterError
from headwater.files.refusals import Accepted, check
from headwater.files.sentences import Sentence, read_sentences
from headwater.files.serverwide import escaping
from headwater.model import (
    Change,
    CheckLine,
    Finding,
    Linted,
    MigrationFolder,
    Notify,
    Outcome,
    Plan,
    Said,
    Severity,
    Target,
    Verification,
    ignore,
)
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.databases import scratch_database
from headwater.postgres.run import migrate, plan_for
from headwater.postgres.sentences import broken_sentences
from headwater.schema.diff import compare, unmanaged_schemas
from headwater.schema.reparse import reparsed
from headwater.schema.snapshot import Snapshot, read_snapshot
from headwater.settings import Settings


def verify(
    target: Target, folder: MigrationFolder, settings: Settings, *, notify: Notify = ignore
) -> Verification:
    """Look at everything, whatever is found on the way, and report it line by line.

    Raises only when the target cannot be reached or its history cannot be read.
    """
    with connect(target, purpose="verify") as connection:
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
        # A check may call a function that writes; on the target nothing may.
        connection.execute("SET default_transaction_read_only = on")
        plan = plan_for(connection, folder, settings)
        files, accepted = look_at_files(folder, plan)
        proof = _Proof(connection, target, folder, settings, plan, notify)
        if files.outcome is Outcome.OK:
            proof.rebuild(accepted)
        else:
            proof.give_up("the files have problems")
        return Verification(
            lines=(
                files,
                proof.rebuilt,
                proof.post_conditions(accepted),
                proof.checks(),
                proof.drift,
                lint_line(folder, plan),
            )
        )


# --- files and lint ---------------------------------------------------------------------------


def look_at_files(folder: MigrationFolder, plan: Plan) -> tuple[CheckLine, tuple[Accepted, ...]]:
    """Check names, bytes and grammar of every file, and that history agrees with them."""
    findings = [*folder.findings, *plan.problems]
    accepted = []
    for migration in folder.migrations:
        result = check(migration)
        if isinstance(result, Accepted):
            accepted.append(result)
        else:
            findings += result
    for file in folder.checks:
        findings += read_sentences(file.text, f"checks/{file.path.name}").findings
    applied = sum(entry.applied is not None for entry in plan.entries)
    total, pending = len(folder.migrations), len(plan.steps)
    summary = f"{total} migrations, {applied} applied, {pending} pending"
    if findings:
        summary = f"{len(findings)} problem{'s' * (len(findings) > 1)}"
    line = CheckLine(
        name="files",
        outcome=Outcome.FOUND if findings else Outcome.OK,
        summary=summary,
        findings=tuple(findings),
    )
    return line, tuple(accepted)


def lint_line(folder: MigrationFolder, plan: Plan) -> CheckLine:
    """Lint what is pending; what is applied already cannot be undone by a finding."""
    pending = [migration.version for migration in plan.steps]
    # The folder's own findings stand in the line of the files.
    linted = lint(replace(folder, findings=()), pending)
    return CheckLine(
        name="lint",
        outcome=Outcome.FOUND if linted.exit_code(Severity.ERROR) else Outcome.OK,
        summary=_lint_summary(linted),
        findings=linted.findings,
    )


def _lint_summary(linted: Linted) -> str:
    if not linted.files:
        return "nothing is pending"
    count = len(linted.findings)
    found = f"{count} finding{'s' * (count != 1)} in {linted.files} pending"
    return "; ".join([found, *linted.notes])


# --- what needs a scratch database ------------------------------------------------------------


@dataclass(slots=True)
class _Proof:
    """What the scratch database has shown, filled in as far as it comes."""

    connection: Connection
    target: Target
    folder: MigrationFolder
    settings: Settings
    plan: Plan
    notify: Notify
    rebuilt: CheckLine = field(init=False)
    drift: CheckLine = field(init=False)
    broken_in_scratch: tuple[Finding, ...] | None = field(init=False, default=None)

    def give_up(self, why: str, outcome: Outcome = Outcome.SKIPPED) -> None:
        """Say for both lines why there was no rebuild."""
        self.rebuilt = CheckLine(name="rebuild", outcome=outcome, summary=why)
        self.drift = CheckLine(name="drift", outcome=outcome, summary=why)

    def rebuild(self, accepted: tuple[Accepted, ...]) -> None:
        """Build what is applied, compare it with the target, then build on to what is pending."""
        place = scratch_server(self.connection, self.target, self.settings, self.notify)
        if isinstance(place, str):
            self.give_up(f"not possible: {place}", Outcome.IMPOSSIBLE)
            return
        escapes = [
            finding
            for file in accepted
            for finding in escaping(
                file.script, f"{file.migration.version}.sql", roles=not place.ours
            )
        ]
        if escapes:
            self.give_up("not possible: the files reach beyond their database", Outcome.IMPOSSIBLE)
            self.rebuilt = replace(self.rebuilt, findings=tuple(escapes))
            return
        self.give_up("the rebuild did not come that far")
        self.notify(Said(message="building a scratch database from the files"))
        with self._failures_told(), scratch_database(place.target, like=self.connection) as scratch:
            self._build(scratch)

    @contextmanager
    def _failures_told(self) -> Generator[None]:
        """Turn an error of the rebuild into its line: a report has all its lines."""
        try:
            yield
        except FilesError as error:
            self.rebuilt = CheckLine(
                name="rebuild",
                outcome=Outcome.FAILED,
                summary=error.message,
                findings=error.findings,
            )
        except HeadwaterError as error:
            finding = Finding(
                rule=error.code, message=error.message, hint=error.hint, source=error.detail
            )
            self.rebuilt = CheckLine(
                name="rebuild", outcome=Outcome.FAILED, summary="it fails", findings=(finding,)
            )

    def _build(self, scratch: Target) -> None:
        applied = {entry.version for entry in self.plan.entries if entry.applied}
        done = tuple(m for m in self.folder.migrations if m.version in applied)
        if done:
            migrate(scratch, replace(self.folder, migrations=done), self.settings)
        self.drift = self._compare(scratch)
        # A file out of order is a problem of the target's history; here everything is new.
        late = frozenset(m.version for m in self.plan.steps)
        migrate(scratch, self.folder, self.settings, out_of_order=late)
        count = len(self.folder.migrations)
        self.rebuilt = CheckLine(
            name="rebuild",
            outcome=Outcome.OK,
            summary=f"{count} migrations build a database from nothing",
        )
        with connect(scratch, purpose="verify") as built:
            pin(built, lock_timeout_ms=self.settings.lock_timeout_ms)
            self.broken_in_scratch = broken_sentences(built, self._sentences())

    def _compare(self, scratch: Target) -> CheckLine:
        actual = self._snapshot(self.connection)
        with connect(scratch, purpose="verify") as built:
            expected = self._snapshot(built)
            changes = compare(expected, actual, schemas=self.settings.schemas)
            changes = reparsed(built, changes, expected) if changes else ()
        return drift_line(changes, unmanaged_schemas(expected, actual, self.settings.schemas))

    def _snapshot(self, connection: Connection) -> Snapshot:
        return read_snapshot(
            connection, schemas=self.settings.schemas, history_table=self.settings.history
        )

    def _sentences(self) -> tuple[Sentence, ...]:
        return tuple(
            sentence
            for file in self.folder.checks
            for sentence in read_sentences(file.text, f"checks/{file.path.name}").sentences
        )

    def post_conditions(self, accepted: tuple[Accepted, ...]) -> CheckLine:
        """Tell of the post-conditions: they ran inside the rebuild."""
        count = sum(len(file.sentences) for file in accepted)
        held = self.rebuilt.outcome is Outcome.OK
        if not count:
            return CheckLine(name="post-conditions", outcome=Outcome.OK, summary="there are none")
        return CheckLine(
            name="post-conditions",
            outcome=Outcome.OK if held else Outcome.SKIPPED,
            summary=f"{count} hold" if held else "they run within the rebuild",
        )

    def checks(self) -> CheckLine:
        """Ask the checks: of the rebuilt schema, and of the target unless something is pending."""
        sentences = self._sentences()
        if not sentences:
            return CheckLine(name="checks", outcome=Outcome.OK, summary="there are none")
        places, findings = [], list[Finding]()
        if self.broken_in_scratch is not None:
            places.append("the rebuilt schema")
            findings += _told("in the rebuilt schema", self.broken_in_scratch)
        if not self.plan.steps:
            places.append("the target")
            findings += _told("on the target", broken_sentences(self.connection, sentences))
        where = " and ".join(places)
        if not places:
            return CheckLine(
                name="checks",
                outcome=Outcome.SKIPPED,
                summary="they hold of the finished schema, and files are pending",
            )
        if findings:
            return CheckLine(
                name="checks",
                outcome=Outcome.FOUND,
                summary=f"{len(findings)} of {len(sentences) * len(places)} broken",
                findings=tuple(findings),
            )
        return CheckLine(
            name="checks", outcome=Outcome.OK, summary=f"{len(sentences)} hold of {where}"
        )


def _told(where: str, findings: tuple[Finding, ...]) -> Iterator[Finding]:
    # The sentence and its place say enough; the query may be long.
    return (
        replace(finding, message=f"{where}: {finding.message}", source="") for finding in findings
    )


def drift_line(changes: tuple[Change, ...], unmanaged: tuple[str, ...]) -> CheckLine:
    """Tell of the differences, and of the schemas that nobody manages."""
    summary = "the database is what the files build"
    if changes:
        summary = f"{len(changes)} difference{'s' * (len(changes) > 1)} between database and files"
    if unmanaged:
        summary += f" (not managed: {', '.join(unmanaged)})"
    return CheckLine(
        name="drift",
        outcome=Outcome.FOUND if changes else Outcome.OK,
        summary=summary,
        changes=changes,
    )
