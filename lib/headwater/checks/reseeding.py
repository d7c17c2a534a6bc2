"""Whether the seeds still fit the schema and may run again: tried on a copy of what files build.

They are run once, and then a second time, one by one: what the tables hold is compared before and
behind each. A seed whose second run changes rows would make another database on each laptop.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from psycopg import sql

from headwater.checks.rebuilding import snapshot_of
from headwater.errors import FilesError, HeadwaterError, SeedFailed
from headwater.files.seeds import read_seeds
from headwater.model import Finding, Notify, Said, SeedFolder, Target, plural
from headwater.outcomes import SeedResult
from headwater.postgres.connect import Connection, connect, only_catalog_names
from headwater.postgres.translate import translated
from headwater.schema.diff import compare
from headwater.schema.snapshot import Snapshot
from headwater.settings import Settings
from headwater.verdicts import CheckLine, Outcome

if TYPE_CHECKING:
    from headwater.checks.building import Built, Workshop
    from headwater.files.seed_refusals import ReadySeed, ReadySeeds

NAME = "seeds"


def seeds_to_prove(settings: Settings) -> SeedFolder:
    """Read the seeds; a folder that cannot be read is a finding here."""
    try:
        return read_seeds(settings)
    except FilesError as error:
        finding = Finding(
            rule=error.code, message=error.message, hint=error.hint, source=error.detail
        )
        return SeedFolder(path=settings.seeds_folder, findings=(finding,))


def line_without_running(seeds: SeedFolder) -> CheckLine:
    """Tell of seeds that cannot be run: there are none, their files are wrong, or no database."""
    if not seeds.seeds and not seeds.findings:
        return CheckLine(name=NAME, outcome=Outcome.OK, summary="there are none")
    from headwater.files.seed_refusals import check_seeds

    _, findings = check_seeds(seeds)
    if findings:
        return _found(findings)
    summary = "they run in the rebuilt schema"
    return CheckLine(name=NAME, outcome=Outcome.SKIPPED, summary=summary)


def prove_seeds(
    shop: Workshop, built: Built, seeds: SeedFolder, settings: Settings, notify: Notify
) -> CheckLine:
    """Run the seeds on a copy of what was built, twice, unless it is known how that ends."""
    if not seeds.seeds or seeds.findings:
        return line_without_running(seeds)
    key = f"{seeds.checksum} {sys.version}"
    if not built.is_known_to_fit(key):
        from headwater.files.seed_refusals import check_seeds

        ready, findings = check_seeds(seeds)
        if not findings:
            notify(Said(message="running the seeds on a copy, twice"))
            try:
                findings = _tried(shop, built, ready, settings)
            except HeadwaterError as error:  # of the place, and not of a seed
                return _not_possible(error)
        if findings:
            return _found(findings)
        built.note_fit(key)
    fit = "fits" if len(seeds.seeds) == 1 else "fit"
    summary = f"{plural(len(seeds.seeds), 'seed')} {fit}; a second run changes nothing"
    return CheckLine(name=NAME, outcome=Outcome.OK, summary=summary)


def _not_possible(error: HeadwaterError) -> CheckLine:
    return CheckLine(
        name=NAME,
        outcome=Outcome.IMPOSSIBLE,
        summary="not possible: the copy cannot be used",
        findings=(
            Finding(rule=error.code, message=error.message, hint=error.hint, source=error.detail),
        ),
    )


def _found(findings: Sequence[Finding]) -> CheckLine:
    return CheckLine(
        name=NAME,
        outcome=Outcome.FOUND,
        summary=plural(len(findings), "problem"),
        findings=tuple(findings),
    )


def _tried(
    shop: Workshop, built: Built, ready: ReadySeeds, settings: Settings
) -> tuple[Finding, ...]:
    before = built.snapshot()
    with shop.spare(built) as copy:
        findings, after = _run_twice(copy, ready, settings)
    if after is not None and (defined := _differences(before, after)):
        with shop.spare(built) as another:
            file = _definer(another, ready, settings, before)
        findings = (*_definitions(file, defined), *findings)
    return findings


def _run_twice(
    copy: Target, ready: ReadySeeds, settings: Settings
) -> tuple[tuple[Finding, ...], Snapshot | None]:
    """Give what is wrong, and the catalogue behind the first run, if that went well."""
    from headwater.postgres.seeding import run_seeds, transaction_of_seeds

    with connect(copy, purpose="verify") as connection, translated("running the seeds"):
        try:
            with transaction_of_seeds(connection, settings):
                run_seeds(connection, ready, settings)
        except SeedFailed as error:
            return (error.finding,), None
        after = snapshot_of(connection, settings)
        return tuple(_second_run(connection, ready, settings)), after


# --- the schema -------------------------------------------------------------------------------

_SHOWN = 3


def _differences(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Give the objects that a seed has made, dropped or changed, whatever their schema."""
    schemas = {each.schema for each in (*before.objects.values(), *after.objects.values())}
    changes = compare(before, after, schemas=sorted(schemas))
    return tuple(dict.fromkeys(change.object for change in changes))


def _definer(copy: Target, ready: ReadySeeds, settings: Settings, before: Snapshot) -> ReadySeed:
    """Run the seeds once more, and give the first behind which the schema is another one."""
    from headwater.postgres.seeding import run_seeds, transaction_of_seeds

    definers: list[ReadySeed] = []

    def look(seed: ReadySeed, _result: SeedResult) -> None:
        if not definers and _differences(before, snapshot_of(connection, settings)):
            definers.append(seed)

    with (
        connect(copy, purpose="verify") as connection,
        translated("running the seeds"),
        transaction_of_seeds(connection, settings),
    ):
        run_seeds(connection, ready, settings, after_each=look)
    return [*definers, ready.seeds[-1]][0]


def _definitions(seed: ReadySeed, objects: Sequence[str]) -> Iterator[Finding]:
    shown = ", ".join(objects[:_SHOWN]) + ", …" * (len(objects) > _SHOWN)
    yield Finding(
        rule="seed-statement",
        message=f"it changes the schema, which is made by migrations alone: {shown}",
        file=seed.file,
        line=seed.line,
        hint="write that as a migration: invoke migration.new NAME",
    )


# --- the rows ---------------------------------------------------------------------------------

_HINT = (
    "on conflict do nothing; or on conflict do update … where the row is distinct from what it "
    "would become: a trigger that keeps updated_at makes a change of every update"
)


def _second_run(connection: Connection, ready: ReadySeeds, settings: Settings) -> list[Finding]:
    """Run the seeds again, and tell what each has changed; or that it fails."""
    from headwater.postgres.seeding import run_seeds, transaction_of_seeds

    found = list[Finding]()
    before = _contents(connection, settings)

    def compare_rows(seed: ReadySeed, result: SeedResult) -> None:
        nonlocal before
        after = _contents(connection, settings)
        found.extend(_changes(before, after, result, seed))
        before = after

    try:
        with transaction_of_seeds(connection, settings):
            run_seeds(connection, ready, settings, after_each=compare_rows)
    except SeedFailed as error:
        message = f"run a second time, it fails: {error.finding.message}"
        found.append(replace(error.finding, rule="seed-repeat", message=message, hint=_HINT))
    return found


_Table: TypeAlias = tuple[str, str]
_Contents: TypeAlias = Mapping[_Table, Counter[int]]

# Tables of users, each by itself: a partition holds its own rows.
_TABLES = """
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
   AND NOT (n.nspname = %(schema)s AND c.relname = ANY (%(tables)s))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
"""

# The same text is the same row. (The seed of the hash is any number.)
_ROWS = """
SELECT pg_catalog.hashtextextended(headwater_row::pg_catalog.text, 0), pg_catalog.count(*)
  FROM ONLY {} AS headwater_row GROUP BY 1
"""


def _contents(connection: Connection, settings: Settings) -> _Contents:
    """Give the rows of every table, as hashes with how often each is there."""
    history = [settings.history_table, f"{settings.history_table}_steps"]
    names = {"schema": settings.history_schema, "tables": history}
    with only_catalog_names(connection):
        tables = connection.execute(_TABLES, names).fetchall()
        return {
            (schema, name): Counter(
                dict(connection.execute(sql.SQL(_ROWS).format(sql.Identifier(schema, name))))
            )
            for schema, name in tables
        }


def _changes(
    before: _Contents, after: _Contents, result: SeedResult, seed: ReadySeed
) -> Iterator[Finding]:
    """Tell, table by table, what a seed has changed that was run before."""
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, Counter()), after.get(table, Counter())
        if what := _difference((new - old).total(), (old - new).total()):
            yield Finding(
                rule="seed-repeat",
                message=f"run a second time, it changes {'.'.join(table)}: {what}",
                file=seed.file,
                line=_line(table, result, seed),
                hint=_HINT,
                relation=".".join(table),
            )


def _difference(come: int, gone: int) -> str:
    """Say how many rows came, went, or are other ones now."""
    changed = min(come, gone)
    counts = {"changed": changed, "added": come - changed, "deleted": gone - changed}
    return ", ".join(f"{plural(count, 'row')} {what}" for what, count in counts.items() if count)


def _line(table: _Table, result: SeedResult, seed: ReadySeed) -> int:
    """Give the line of the statement that wrote to the table; else of the first that wrote."""
    return result.wrote.get(table[1], min(result.wrote.values(), default=seed.line))
