"""The corpus of lint: hazards that are found at their line, and safe forms that are left alone.

Each case is a migration (or a folder of some that run one after the other) behind the one schema of
`tests/lint/schema.sql`, and goes through text, trace and catalogue on a real server. In a hazard a
mark at the end of a line, `--! RULE, RULE`, says which findings begin there: exactly those, of all
that are more than information, and no information that is marked may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import conninfo

from headwater.checks.layers import Selection, lint_target
from headwater.checks.linting import Texts, read_texts
from headwater.checks.rules import BY_ID, Claim
from headwater.files.read import read_folder
from headwater.files.text import place
from headwater.model import Finding, MigrationFolder, Severity, Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from headwater.verdicts import Linted
from tests.conftest import FreshDatabase

LINT = Path(__file__).parent / "lint"
SCHEMA = "20240101_schema"

_MARK = re.compile(rb"[ \t]*--! *(?P<rules>[a-z0-9-]+(?: *, *[a-z0-9-]+)*)[ \t]*(?=\r|\n|\Z)")
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case, with its files in their order."""

    name: str
    files: tuple[Path, ...]

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(f"202402{n:02}_step_{n}" for n, _ in enumerate(self.files, 1))


def cases(sort: str) -> list[Case]:
    return [
        Case(
            name=path.stem,
            files=tuple(sorted(path.iterdir(), key=lambda file: int(file.stem)))
            if path.is_dir()
            else (path,),
        )
        for path in sorted((LINT / sort).iterdir())
    ]


BAD, GOOD = cases("bad"), cases("good")

At = tuple[str, int, str]
"""File, line and rule."""


def marks(case: Case) -> set[At]:
    """Give what the marks of a case ask for."""
    wanted = set[At]()
    for version, file in zip(case.versions, case.files, strict=True):
        for number, line in enumerate(_LINE_END.split(file.read_bytes()), 1):
            if found := _MARK.search(line):
                rules = re.split(r" *, *", found["rules"].decode())
                wanted.update((f"{version}.sql", number, rule) for rule in rules)
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A project whose only folder holds the schema, and one case after the other."""

    target: Target
    settings: Settings

    def folder(self, case: Case) -> MigrationFolder:
        """Write the files of a case, without their marks, and read them."""
        root = self.settings.migrations
        for old in root.iterdir():
            old.unlink()
        (root / f"{SCHEMA}.sql").write_bytes((LINT / "schema.sql").read_bytes())
        for version, file in zip(case.versions, case.files, strict=True):
            (root / f"{version}.sql").write_bytes(_MARK.sub(b"", file.read_bytes()))
        return read_folder(root)

    def lint(self, case: Case) -> Linted:
        selection = Selection(versions=frozenset(case.versions))
        return lint_target(self.target, self.folder(case), self.settings, selection)


@pytest.fixture(scope="module")
def lab(
    server: Target, fresh_database: FreshDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Lab]:
    """An empty target, beside which scratch databases are made, and the place of the files."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "migrations").mkdir()
    settings = Settings(root=root, migrations=root / "migrations", schemas=("app",))
    with fresh_database() as url:
        name = str(conninfo.conninfo_to_dict(url)["dbname"])
        yield Lab(target=with_database(server, name, "test"), settings=settings)


def placed(finding: Finding) -> At:
    return finding.file, finding.line, finding.rule


def is_more(finding: Finding) -> bool:
    return finding.severity is not Severity.INFO


# --- what is shown ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_hazard_is_found_at_its_line(
    case: Case, lab: Lab, request: pytest.FixtureRequest
) -> None:
    linted = lab.lint(case)
    wanted = marks(case)
    found = {placed(finding) for finding in linted.findings}
    more = {placed(finding) for finding in linted.findings if is_more(finding)}
    _note(request, hazards=(int(wanted <= found and more <= wanted), 1))
    assert (sorted(wanted - found), sorted(more - wanted)) == ([], []), told(linted)
    _require_measured(case, lab, linted, request)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_safe_form_is_left_alone(case: Case, lab: Lab, request: pytest.FixtureRequest) -> None:
    linted = lab.lint(case)
    loud = [finding for finding in linted.findings if is_more(finding)]
    _note(request, safe=(int(not loud), 1))
    assert (loud, linted.notes) == ([], ()), told(linted)
    # (A block that commits cannot be traced, as that needs a transaction; it was run as a whole.)
    ended = [t.version for t in linted.traces if not t.error or "SQLSTATE 2D000" in t.error]
    assert ended == list(case.versions), f"not every file was run: {linted.traces}"
    _require_measured(case, lab, linted, request)


def told(linted: Linted) -> str:
    """Say what was found, for the message of a test that fails."""
    return "\n".join(
        [
            "",
            *(
                f"{f.file}:{f.line}:{f.column} {f.severity} {f.rule}: {f.message} [{f.measured}]"
                for f in linted.findings
            ),
            *linted.notes,
        ]
    )


def _require_measured(case: Case, lab: Lab, linted: Linted, request: pytest.FixtureRequest) -> None:
    """Require of what is shown, and claims a lock, a rewrite or a scan, that just that was seen.

    A statement that was not run (it reaches beyond its database, or something before it failed)
    can confirm and refute nothing.
    """
    texts = read_texts(lab.folder(case), case.versions)
    ran = _ran(texts, linted)
    shown = [f for f in linted.findings if _claims(f) and _is_in(f, ran)]
    kept = {placed(finding) for finding in shown}
    claimed = {placed(f) for f in texts.findings if _claims(f) and _is_in(f, ran)}
    unseen = [f for f in shown if not f.measured.startswith(_words_of(f))]
    _note(request, refuted=(len(unseen), len(claimed - kept) + len(unseen)))
    assert (kept - claimed, unseen) == (set(), []), told(linted)


_SEEN: dict[Claim, tuple[str, ...]] = {
    Claim.REWRITE: ("rewrites ",),
    Claim.INDEX_BUILD: ("builds ", "rewrites "),
    Claim.SCAN: ("reads all of ", "builds ", "rewrites "),
    Claim.LOCK: ("locks ", "reads all of ", "builds ", "rewrites "),
}
"""How what was measured begins when it shows that a claim is right."""


def _words_of(finding: Finding) -> tuple[str, ...]:
    claim = BY_ID[finding.rule].claim
    return _SEEN[claim] if claim else ()


def _claims(finding: Finding) -> bool:
    rule = BY_ID.get(finding.rule)
    return rule is not None and rule.claim is not None


Span = tuple[str, tuple[int, int], tuple[int, int]]
"""File, and where a statement begins and ends."""


def _ran(texts: Texts, linted: Linted) -> list[Span]:
    """Give the places of the statements that were run to their end."""
    traces = {traced.version: traced for traced in linted.traces}
    spans = list[Span]()
    for file in texts.accepted:
        traced = traces.get(file.migration.version)
        script = file.script
        for statement, one in zip(
            script.statements, traced.statements if traced else (), strict=False
        ):
            if not one.skipped:
                begin = (statement.line, statement.column)
                end = place(script.text, statement.end)
                spans.append((f"{file.migration.version}.sql", begin, end))
    return spans


def _is_in(finding: Finding, spans: list[Span]) -> bool:
    at = (finding.line, finding.column)
    return any(file == finding.file and begin <= at < end for file, begin, end in spans)


def _note(request: pytest.FixtureRequest, **counts: tuple[int, int]) -> None:
    """Hand two numbers to the summary of conftest: how many, of how many."""
    request.node.user_properties += [(f"corpus {sort}", pair) for sort, pair in counts.items()]


# --- the corpus itself ------------------------------------------------------------------------


def test_the_corpus_holds_at_least_120_hazards_and_60_safe_forms() -> None:
    print(f"\nhazards: {len(BAD)}, with {sum(len(marks(case)) for case in BAD)} marks; ", end="")
    print(f"safe forms: {len(GOOD)}")
    assert len(BAD) >= 120
    assert len(GOOD) >= 60


def test_every_hazard_is_marked_with_rules_that_are_there_and_no_safe_form_is() -> None:
    assert [case.name for case in BAD if not marks(case)] == []
    assert [case.name for case in GOOD if marks(case)] == []
    assert {rule for case in BAD for _, _, rule in marks(case)} - set(BY_ID) <= {"not-utf-8"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("drop table app.log; --! truncate\n", id="another-rule"),
        pytest.param(
            "\ndrop table app.log; --! ban-drop-table\nselect 1; --! fails\n", id="one-more"
        ),
        pytest.param("\ndrop table app.log;\nselect 1; --! ban-drop-table\n", id="another-line"),
        pytest.param("drop table app.log; select 1;\n", id="no-mark"),
    ],
)
def test_a_mark_that_is_wrong_is_seen(
    text: str, lab: Lab, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "case.sql"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError):
        test_a_hazard_is_found_at_its_line(Case(name="case", files=(file,)), lab, request)
    request.node.user_properties.clear()
