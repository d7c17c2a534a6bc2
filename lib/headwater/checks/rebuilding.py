"""What files build, beside what a target is: the proof that verify, repair and baseline share.

A scratch database is built from some of the files, and its catalogue is compared with that of the
target. Nothing here writes to the target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from headwater.checks.reading import Grammar
from headwater.checks.scratch import ScratchServer, scratch_server
from headwater.errors import FilesError, HeadwaterError, TargetError
from headwater.model import Finding, MigrationFolder, Notify, Target, ignore
from headwater.postgres.connect import Connection, connect, pin
from headwater.postgres.translate import translated
from headwater.schema.diff import compare, unmanaged_schemas
from headwater.schema.reparse import reparsed
from headwater.schema.snapshot import Snapshot, read_snapshot
from headwater.settings import Settings
from headwater.verdicts import Change, CheckLine, Outcome


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why no scratch database can be built, in words and as findings about the files."""

    why: str
    findings: tuple[Finding, ...] = ()


def place_for(
    connection: Connection,
    target: Target,
    settings: Settings,
    files: Grammar,
    notify: Notify = ignore,
) -> ScratchServer | NoPlace:
    """Choose where sound files can be built for a target, or say why they cannot."""
    place = scratch_server(connection, target, settings, notify)
    if isinstance(place, str):
        return NoPlace(place)
    escapes = files.escapes(ours=place.ours)
    return NoPlace("the files reach beyond their database", escapes) if escapes else place


def require_place(place: ScratchServer | NoPlace, doing: str) -> ScratchServer:
    """Give the place; raise TargetError when there is none: nothing can be proved then."""
    if isinstance(place, ScratchServer):
        return place
    findings = "\n".join(f"{f.file}:{f.line}: {f.message}" for f in place.findings)
    raise TargetError(
        f"{doing}: not possible without a scratch database; nothing was changed",
        detail="\n".join(filter(None, [place.why, findings])),
        hint="docs/verify.md says where scratch databases are made",
    )


def apply_files(
    folder: MigrationFolder, settings: Settings, scratch: Target, versions: Collection[str]
) -> None:
    """Apply the files of some versions that are not applied yet, in the order of names.

    One that is out of order is a problem of the target's history; here everything is new.
    """
    chosen = frozenset(versions)
    files = tuple(m for m in folder.migrations if m.version in chosen)
    if files:
        from headwater.postgres.run import migrate

        migrate(
            scratch,
            replace(folder, migrations=files),
            settings,
            out_of_order=chosen,
            seals=False,
        )


def snapshot_of(connection: Connection, settings: Settings) -> Snapshot:
    """Read the catalogue of a database that is connected."""
    with translated("reading the catalogue"):
        return read_snapshot(connection, history_table=settings.history)


def snapshot_at(database: Target, settings: Settings) -> Snapshot:
    """Connect to a database, and read its catalogue."""
    with connect(database, purpose="verify") as connection:
        return snapshot_of(connection, settings)


def prepare_to_ask(connection: Connection, settings: Settings) -> None:
    """Pin a session, and let nothing write in it: a query may call a function that does."""
    with translated("preparing the session"):
        pin(connection, lock_timeout_ms=settings.lock_timeout_ms)
        connection.execute("SET default_transaction_read_only = on")


def differences(
    expected: Snapshot,
    actual: Snapshot,
    *,
    schemas: Sequence[str],
    scratch: Callable[[], Target],
) -> tuple[Change, ...]:
    """Compare two snapshots, but for expressions that are the same once they are parsed again.

    `scratch` gives a database in which they can be; it is asked for when something differs.
    """
    changes = compare(expected, actual, schemas=schemas)
    if not changes:
        return ()
    with connect(scratch(), purpose="verify") as built, translated("comparing expressions"):
        return reparsed(built, changes, expected)


def drift_between(
    expected: Snapshot, actual: Snapshot, *, scratch: Callable[[], Target], settings: Settings
) -> CheckLine:
    """Compare what the files build with what the target is.

    `scratch` gives a database that they have built.
    """
    schemas = settings.schemas
    return drift_line(
        differences(expected, actual, schemas=schemas, scratch=scratch),
        unmanaged=unmanaged_schemas(expected, actual, schemas),
        unreadable=expected.unreadable | actual.unreadable,
    )


def drift_line(
    changes: tuple[Change, ...],
    *,
    unmanaged: Sequence[str] = (),
    unreadable: frozenset[str] = frozenset(),
) -> CheckLine:
    """Tell of the differences, of the schemas that nobody manages, and of what was not seen.

    `unreadable` are columns of catalogues that the role may not read, as `catalogue.column`.
    """
    summary = "the database is what the files build"
    if changes:
        summary = f"{len(changes)} difference{'s' * (len(changes) > 1)} between database and files"
    if unmanaged:
        summary += f" (not managed: {', '.join(unmanaged)})"
    if unreadable:
        unseen = sorted({column.partition(".")[0] for column in unreadable})
        summary += f"; a weaker proof: the role may not read all of {', '.join(unseen)}"
    return CheckLine(
        name="drift",
        outcome=Outcome.FOUND if changes else Outcome.OK,
        summary=summary,
        changes=changes,
    )


def failure_line(error: HeadwaterError) -> CheckLine:
    """Turn an error of the rebuild into its line: the files are at fault, or the place is."""
    if isinstance(error, FilesError):
        return CheckLine(
            name="rebuild",
            outcome=Outcome.FAILED,
            summary=error.message,
            findings=error.findings,
        )
    at_fault = not isinstance(error, TargetError)
    finding = Finding(rule=error.code, message=error.message, hint=error.hint, source=error.detail)
    return CheckLine(
        name="rebuild",
        outcome=Outcome.FAILED if at_fault else Outcome.IMPOSSIBLE,
        summary="it fails" if at_fault else "not possible: the scratch database cannot be used",
        findings=(finding,),
    )
