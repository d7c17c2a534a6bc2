"""The tasks: each a short list of library calls, from settings to what is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit

from headwater import __version__, checks, files, postgres, report, testing
from headwater.report.workflow import task, with_full_names

if TYPE_CHECKING:
    from headwater.files.hooks import Hooked
    from headwater.model import Migrated, Target
    from headwater.outcomes import Tried
    from headwater.settings import Settings
    from headwater.verdicts import Foreseen, Verdict

ROOT = Path(__file__).resolve().parent

JSON = {"json": "print one JSON object instead of text"}


# --- the schema -------------------------------------------------------------------------------


@task(help={"seed": "fill the tables from seeds/, in the same transaction", **JSON})
def reset(c: Context, seed: bool = False, json: bool = False) -> None:
    """Drop the schemas and rebuild them from the migrations."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    seeds = files.read_seeds(settings) if seed else None
    with report.progress() as notify:
        rebuilt = postgres.rebuild(target, folder, settings, seeds=seeds, notify=notify)
    report.show("reset", rebuilt, target=target, json=json)


@task(
    help={
        "to": "the last version to apply (default: all)",
        "dry_run": "show the SQL that would run, with the same checks, and stop",
        "trial": "run everything pending in one transaction, and roll it back",
        "confirm": "the database's name, typed, for a trial where others may wait for its locks",
        "out_of_order": "versions, comma-separated, that may run although a later date is applied",
        "wait_lock": "how long to wait for another runner, such as 10min",
        "wait_concurrently": "how long a CONCURRENTLY may wait for other sessions, such as 30min",
        **JSON,
    }
)
def migrate(  # noqa: PLR0913, PLR0917 - Invoke's flags
    c: Context,
    to: str = "",
    dry_run: bool = False,
    trial: bool = False,
    confirm: str = "",
    out_of_order: str = "",
    wait_lock: str = "",
    wait_concurrently: str = "",
    json: bool = False,
) -> None:
    """Apply every pending migration, oldest first, under one lock."""
    from headwater.settings import with_limits

    require_one_way(dry_run=dry_run, trial=trial, confirm=confirm)
    settings, target = open_target(json=json)
    settings = with_limits(settings, wait_lock=wait_lock, wait_concurrently=wait_concurrently)
    folder = files.read_sound_folder(settings.migrations)
    late = frozenset(out_of_order.split(",")) - {""}
    outcome: Migrated | Tried | Foreseen
    with report.progress() as notify:
        if trial:
            outcome = postgres.try_out(
                target, folder, settings, to=to, out_of_order=late, confirm=confirm, notify=notify
            )
        else:
            outcome = postgres.migrate(
                target, folder, settings, to=to, out_of_order=late, dry_run=dry_run, notify=notify
            )
            if dry_run:
                outcome = checks.foresee(target, folder, settings, outcome, notify=notify)
    report.show("migrate", outcome, target=target, json=json)


@task(
    help={
        "to": "undo what was applied after this version, which stays",
        "steps": "how many to undo, the last applied first (default: 1)",
        "confirm": "the database's name, typed in full, unless it is disposable",
        **JSON,
    }
)
def rollback(
    c: Context,
    to: str | None = None,
    steps: str | None = None,
    confirm: str = "",
    json: bool = False,
) -> None:
    """Undo migrations by their VERSION.down.sql, the last applied one first."""
    from headwater.settings import count_of, given

    to, count = given("--to", to), count_of("--steps", steps)
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        outcome = postgres.rollback(
            target, folder, settings, to=to, steps=count, confirm=confirm, notify=notify
        )
    report.show("rollback", outcome, target=target, json=json)


@task(help={"check": "exit with 1 unless everything is applied and agrees", **JSON})
def status(c: Context, check: bool = False, json: bool = False) -> None:
    """Show what is applied, pending, edited or missing; changes nothing."""
    settings, target = open_target(json=json)
    plan = postgres.status(target, files.read_sound_folder(settings.migrations), settings)
    failed = check and not plan.agrees
    report.show("status", plan, target=target, json=json, ok=not failed)
    exit_with(int(failed))


@task(help={"timeout": "how long to wait, such as 60s or 5min", **JSON})
def wait(c: Context, timeout: str = "60s", json: bool = False) -> None:
    """Wait until the database answers; a wrong password or name ends it at once."""
    _, target = open_target(json=json)
    answered = postgres.wait_for(target, timeout, notify=report.tell)
    report.show("wait", answered, target=target, json=json)


@task(help={"sql": "draft the migration that would keep the drift", **JSON})
def verify(c: Context, sql: bool = False, json: bool = False) -> None:
    """Prove that files and database agree; run it before you push."""
    settings, target = open_target(json=json)
    folder = files.read_folder(settings.migrations)
    with report.progress() as notify:
        verification = checks.verify(target, folder, settings, drafts=sql, notify=notify)
    show_verdict("verify", verification, target, json=json)


@task(
    help={
        "all": "every file, not only the pending ones",
        "base": "the files that are new since a branch, such as origin/main",
        "text": "only read the files: no server is asked, and nothing is run",
        "live": "ask the target's rows what would fail, and its sizes how long it would take",
        "stats": "sizes from a file that invoke lint.stats made elsewhere",
        "fix": "rewrite pending files in safe steps, once two rebuilds prove the schema the same",
        "format": "text (the default), json, github, gitlab, sarif, junit or markdown",
        "output": "write the report to this file; the screen gets the sum",
        "fail_on": "exit with 1 from this severity on: info, warning or error (the default)",
        **JSON,
    }
)
def lint(  # noqa: PLR0913, PLR0917 - Invoke's flags
    c: Context,
    all: bool = False,
    base: str = "",
    text: bool = False,
    live: bool = False,
    stats: str = "",
    fix: bool = False,
    format: str = "text",
    output: str = "",
    fail_on: str = "error",
    json: bool = False,
) -> None:
    """Find what would hurt in production, before it gets there."""
    form, threshold = report.format_of(format, json=json), checks.severity(fail_on)
    require_one_lint(
        text=text,
        all=all,
        base=base,
        live=live,
        stats=stats,
        fix=fix,
        shown=form != "text" or output,
    )
    quiet = form != "text" or bool(output)
    settings, target = (settings_here(), None) if text else open_target(json=quiet)
    if fix and target:
        write_safe_sequence(target, settings, json=json)
        return
    folder = files.read_folder(settings.migrations)
    weights = checks.read_statistics(Path(stats)) if stats else None
    selection = checks.select(folder, settings, target, all=all, base=base)
    with report.progress() as notify:
        linted = (
            checks.lint_target(
                target, folder, settings, selection, live=live, weights=weights, notify=notify
            )
            if target
            else checks.lint_text(folder, settings, selection)
        )
    place = report.Place(
        folder=report.folder_in_repository(ROOT, settings.migrations),
        threshold=threshold,
        version=__version__,
        files=selection.files(folder),
        rules=checks.RULES,
    )
    written = Path(output) if output else None
    report.show_linted(linted, target=target, format=form, place=place, output=written)
    exit_with(linted.exit_code(threshold))


@task(
    help={"output": "the file to write, for lint --stats (default: headwater-stats.json)", **JSON}
)
def stats(c: Context, output: str = "headwater-stats.json", json: bool = False) -> None:
    """Write down the sizes of the target's tables, for lint where that is not at hand."""
    settings, target = open_target(json=json)
    weights = postgres.weights_of(target, settings)
    checks.write_statistics(Path(output), weights)
    sentence = f"{output}: the sizes of {len(weights.tables)} tables of {target.database}"
    report.show_fact("lint.stats", sentence, json=json, path=output, tables=len(weights.tables))


@task(positional=["name"], help={"name": "what it does, such as add_project_status", **JSON})
def new(c: Context, name: str, json: bool = False) -> None:
    """Write migrations/YYYYMMDD_NAME.sql (today in UTC), ready to edit."""
    folder = settings_here().migrations
    written = files.new_migration(folder, name, today=datetime.now(UTC).date())
    path = str(written.path).removeprefix(f"{ROOT}/")
    report.show_fact("migration.new", path, json=json, path=path, version=written.version)
    if written.note:
        report.say(f"note: {written.note}", style="yellow", stderr=True)


@task(positional=["version"], help={"version": "a file that is not applied", **JSON})
def redate(c: Context, version: str, json: bool = False) -> None:
    """Give an unapplied file, and what stands beside it, the date of today (in UTC)."""
    settings, target = open_target(json=json)
    folder = files.read_folder(settings.migrations)
    applied = [row.version for row in postgres.status(target, folder, settings).applied]
    today = datetime.now(UTC).date()
    redated = files.redate_migration(settings.migrations, version, applied=applied, today=today)
    renamed = {old.name: new.name for old, new in redated.renamed}
    sentence = "\n".join(f"{old} is {new} now" for old, new in renamed.items())
    facts = {"version": redated.version, "renamed": renamed, "notes": list(redated.notes)}
    report.show_fact("migration.redate", sentence, json=json, **facts)
    for note in redated.notes:
        report.say(f"note: {note}", style="yellow", stderr=True)


@task(help=JSON)
def lock(c: Context, json: bool = False) -> None:
    """Write migrations.lock, in which two branches that both add a file meet in a conflict."""
    written = files.write_lock(files.read_sound_folder(settings_here().migrations))
    path = str(written.path).removeprefix(f"{ROOT}/")
    sentence = f"{path}: {written.files} files" + " (as before)" * (not written.changed)
    report.show_fact("migration.lock", sentence, json=json, path=path, changed=written.changed)


@task(positional=["name"], help={"name": "an object, such as kb.tags.name or 'kb.t*'", **JSON})
def blame(c: Context, name: str, json: bool = False) -> None:
    """Say which migration created an object, which changed it, and how."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        blamed = checks.blame(target, folder, settings, name, notify=notify)
    show_verdict("blame", blamed, target, json=json)


@task(positional=["query"], help={"query": "a SELECT of one boolean, in quotes", **JSON})
def bisect(c: Context, query: str, json: bool = False) -> None:
    """Find the migration after which a boolean query, once true, becomes false."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        bisected = checks.bisect(target, folder, settings, query, notify=notify)
    show_verdict("bisect", bisected, target, json=json)


# --- history ----------------------------------------------------------------------------------


@task(positional=["version"], help={"version": "the file that was edited or renamed", **JSON})
def repair(c: Context, version: str, json: bool = False) -> None:
    """Let history agree with an edited or renamed file, where that is proved to be right."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        repaired = checks.repair(target, folder, settings, version, notify=notify)
    show_verdict("history.repair", repaired, target, json=json)


@task(
    positional=["version"],
    help={
        "version": "the file whose effects are there already",
        "confirm": "the database's name, typed in full, unless it is disposable",
        **JSON,
    },
)
def mark(c: Context, version: str, confirm: str = "", json: bool = False) -> None:
    """Record one pending file as applied, without running it."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        marked = postgres.mark(target, folder, settings, version, confirm=confirm, notify=notify)
    report.show("history.mark", marked, target=target, json=json)


@task(
    positional=["version"],
    help={"version": "the last file that the database was built from", **JSON},
)
def baseline(c: Context, version: str, json: bool = False) -> None:
    """Take over a database that was built by other means, once it is proved to be the same."""
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        baselined = checks.baseline(target, folder, settings, version, notify=notify)
    show_verdict("history.baseline", baselined, target, json=json)


# --- the database -----------------------------------------------------------------------------


@task(help=JSON)
def start(c: Context, json: bool = False) -> None:
    """Start this checkout's private server, unless it runs."""
    target = postgres.private_target(settings_here(), report.tell)
    report.show_fact("db.start", f"running: {target}", json=json, port=int(target.port))


@task(help=JSON)
def stop(c: Context, json: bool = False) -> None:
    """Stop this checkout's private server; its data stay."""
    stopped = postgres.stop(postgres.server_of(ROOT))
    what = "is stopped" if stopped else "did not run"
    sentence = f"the private server of {ROOT} {what}"
    report.show_fact("db.stop", sentence, json=json, changed=stopped)


@task(help=JSON)
def destroy(c: Context, json: bool = False) -> None:
    """Remove this checkout's private server with all its data."""
    gone = postgres.destroy(postgres.server_of(ROOT))
    what = "and its data are gone" if gone else "was not there"
    sentence = f"the private server of {ROOT} {what}"
    report.show_fact("db.destroy", sentence, json=json, changed=gone)


@task
def url(c: Context) -> None:
    """Print the target's whole URL, password included, for scripts."""
    report.say(postgres.url_of(postgres.choose_target(settings_here(), report.tell)))


@task(
    auto_shortflags=True,  # -c is what psql has; without, Invoke takes it for an option of its own
    help={
        "command": "SQL to run instead of opening a prompt",
        "test": "a test database that was kept, by its name, instead of the target",
    },
)
def psql(c: Context, command: str | None = None, test: str | None = None) -> None:
    """Open psql on the target."""
    from headwater.settings import given

    settings = settings_here()
    command, test = given("--command", command, "give SQL"), given("--test", test, "name one")
    target = (
        testing.find_database(settings, test, report.tell)
        if test
        else postgres.choose_target(settings, report.tell)
    )
    report.say(f"target: {target}", style="dim", stderr=True)
    exit_with(postgres.run_psql(target, command))


@task(positional=["name"], help={"name": "the target's name, typed in full", **JSON})
def disposable(c: Context, name: str, json: bool = False) -> None:
    """Mark the target as disposable: reset may then drop its schemas."""
    _, target = open_target(json=json)
    marked = postgres.dispose(target, name)
    sentence = f"{name} is marked as disposable" if marked else f"{name} was marked already"
    report.show_fact("db.disposable", sentence, json=json, changed=marked)


# --- test databases ---------------------------------------------------------------------------


@task(
    help={
        "at": "the last version that it has (default: all)",
        "seed": "with the rows of the seeds",
        "lasting": "when it may be swept although nobody handed it back, such as 30min",
        "pid": "the process that has it: it may be swept when that has ended",
        **JSON,
    }
)
def test_url(  # noqa: PLR0913, PLR0917 - Invoke's flags
    c: Context,
    at: str | None = None,
    seed: bool = False,
    lasting: str = "4h",
    pid: str | None = None,
    json: bool = False,
) -> None:
    """Make a migrated database for a suite in any language, and print its URL."""
    from headwater.settings import given

    at, pid = given("--at", at), given("--pid", pid, "name a process")
    lent = testing.lend_database(
        settings_here(), at=at or None, seeded=seed, lasting=lasting, pid=pid, notify=report.tell
    )
    facts = {"name": lent.name, "url": lent.url, "until": lent.until.isoformat(timespec="seconds")}
    report.show_fact("db.test-url", lent.url, json=json, **facts)


@task(positional=["database"], help={"database": "its URL, or its name", **JSON})
def drop(c: Context, database: str, json: bool = False) -> None:
    """Drop a test database: one that db.test-url made, or that a failed test has kept."""
    gone = testing.drop_database(settings_here(), database, report.tell)
    sentence = "the test database is dropped" if gone else "there is no such database any more"
    report.show_fact("db.drop", sentence, json=json, changed=gone)


@task(help=JSON)
def sweep(c: Context, json: bool = False) -> None:
    """Drop the databases that ended test runs left behind, kept ones included."""
    swept = testing.sweep(settings_here(), report.tell)
    facts = {name: list(getattr(swept, name)) for name in ("dropped", "in_use", "stuck")}
    report.show_fact("db.sweep", swept.summary, json=json, **facts)


# --- the project ------------------------------------------------------------------------------


@task(help={"seed": "fill the tables from seeds/, too", **JSON})
def onboard(c: Context, seed: bool = False, json: bool = False) -> None:
    """Take a fresh clone to a working database; safe to run twice."""
    written = files.write_dotenv(ROOT)
    settings, target = open_target(json=json)
    folder = files.read_sound_folder(settings.migrations)
    seeds = postgres.require_seedable(target, files.read_seeds(settings)) if seed else None
    with report.progress() as notify:
        migrated = postgres.migrate(target, folder, settings, notify=notify)
        seeded = postgres.apply_accepted(target, seeds, settings, notify=notify) if seeds else None
        verification = checks.verify(target, folder, settings, notify=notify)
    outcome = report.Onboarded(
        migrated=migrated,
        verification=verification,
        dotenv=written,
        seeds=seeded.results if seeded else (),
    )
    report.show("onboard", outcome, target=target, json=json, ok=verification.exit_code == 0)
    exit_with(verification.exit_code)


@task(
    help={
        "args": "arguments for pytest, such as: tests/test_settings.py -x",
        "slow": "those that take long, too: loops of faults, mostly",
    }
)
def test(c: Context, args: str = "", slow: bool = False) -> None:
    """Run the tests; they never open DATABASE_URL."""
    exit_with(report.run_tests(ROOT, args, slow=slow))


@task(help=JSON)
def install(c: Context, json: bool = False) -> None:
    """Have git run verify and lint before each push; a hook that is there is kept."""
    show_hook("hooks.install", files.install_hook(ROOT), done="is installed", json=json)


@task(help=JSON)
def remove(c: Context, json: bool = False) -> None:
    """Take away what hooks.install wrote; the rest of the hook stays as it is."""
    show_hook("hooks.remove", files.remove_hook(ROOT), done="is removed", json=json)


@task
def check(c: Context) -> None:
    """Check the code: ruff, mypy, import-linter."""
    exit_with(report.run_checks(ROOT))


def settings_here() -> Settings:
    """Load the settings of this folder."""
    from headwater.settings import load_settings

    return load_settings(ROOT)


def open_target(*, json: bool) -> tuple[Settings, Target]:
    """Load the settings, choose the database, and name it."""
    settings = settings_here()
    target = postgres.choose_target(settings, report.tell)
    report.show_target(target, json=json)
    return settings, target


def require_one_way(*, dry_run: bool, trial: bool, confirm: str) -> None:
    """Refuse flags of migrate that contradict each other."""
    from headwater.errors import SettingsError

    if dry_run and trial:
        raise SettingsError("--dry-run shows and --trial runs: give one of them")
    if confirm and not trial:
        raise SettingsError("--confirm belongs to --trial; migrate itself needs none")


def require_one_lint(**given: bool | str) -> None:
    """Refuse flags of lint that contradict each other."""
    from headwater.errors import SettingsError

    for one, others in (
        ("text", ("live", "stats", "fix")),
        ("fix", ("all", "base", "live", "stats", "shown")),
        ("all", ("base",)),
        ("live", ("stats",)),
    ):
        if given[one] and any(given[other] for other in others):
            names = ", ".join("--" + other.replace("shown", "format, --output") for other in others)
            raise SettingsError(f"--{one} goes without {names}")


def write_safe_sequence(target: Target, settings: Settings, *, json: bool) -> None:
    """Write what would hurt in pending files as steps that do not, where that is proved."""
    folder = files.read_sound_folder(settings.migrations)
    with report.progress() as notify:
        today = datetime.now(UTC).date()
        fixed = checks.fix(target, folder, settings, today=today, notify=notify)
    show_verdict("lint", fixed, target, json=json)


def show_hook(task: str, hook: Hooked, *, done: str, json: bool) -> None:
    """Show what became of the hook before a push."""
    sentence = f"the hook {hook.path} {done}" if hook.changed else f"{hook.path} is as it was"
    report.show_fact(task, sentence, json=json, path=str(hook.path), changed=hook.changed)
    if hook.note:
        report.say(f"note: {hook.note}", style="yellow", stderr=True)


def show_verdict(task: str, verdict: Verdict, target: Target, *, json: bool) -> None:
    """Show what was proved or found, and end with the exit code that it gives."""
    report.show(task, verdict, target=target, json=json, ok=verdict.exit_code == 0)
    exit_with(verdict.exit_code)


def exit_with(code: int) -> None:
    """End with an exit code of our own, when it is not 0."""
    if code:
        raise Exit(code=code)


lint_tasks = Collection("lint", stats)
lint_tasks.add_task(lint, default=True)

namespace = with_full_names(
    Collection(
        reset,
        migrate,
        rollback,
        status,
        wait,
        verify,
        blame,
        bisect,
        onboard,
        test,
        lint_tasks,
        Collection("migration", new, redate, lock),
        Collection("history", repair, mark, baseline),
        Collection("db", start, stop, destroy, url, psql, disposable, test_url, drop, sweep),
        Collection("hooks", install, remove),
        Collection("dev", check),
    )
)
