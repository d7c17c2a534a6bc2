"""The corpus of lint: hazards that are found at their line, and safe forms that are left alone.

Each case is a migration (or a folder of some that run one after the other) behind the one schema of
`tests/lint/schema.sql`, and goes through text, trace and catalogue on a real server. In a hazard a
mark at the end of a line, `--! RULE, RULE`, says which findings begin there: exactly those, of all
that are more than information, and no information that is marked may be missing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from psycopg import conninfo

from headwater.checks.layers import Selection, lint_target
from headwater.checks.linting import read_texts
from headwater.checks.rules import BY_ID
from headwater.files.read import read_folder
from headwater.model import Finding, MigrationFolder, Severity, Target
from headwater.postgres.connect import with_database
from headwater.settings import Settings
from headwater.verdicts import Linted
from tests.conftest import FreshDatabase

LINT = Path(__file__).parent / "lint"
SCHEMA = "20240101_schema"
DAY = date(2024, 3, 1)

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


def marks(case: Case) -> Counter[At]:
    """Give what the marks of a case ask for."""
    wanted = Counter[At]()
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
        place = self.settings.migrations
        for old in place.iterdir():
            old.unlink()
        (place / f"{SCHEMA}.sql").write_bytes((LINT / "schema.sql").read_bytes())
        for version, file in zip(case.versions, case.files, strict=True):
            (place / f"{version}.sql").write_bytes(_MARK.sub(b"", file.read_bytes()))
        return read_folder(place)

    def lint(self, case: Case) -> Linted:
        return lint_target(
            self.target,
            self.folder(case),
            self.settings,
            Selection(versions=case.versions),
            today=DAY,
        )


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
    wanted = set(marks(case))
    found = {placed(finding) for finding in linted.findings}
    more = {placed(finding) for finding in linted.findings if is_more(finding)}
    _note(request, hazards=(len(wanted & found), len(wanted)))
    assert (sorted(wanted - found), sorted(more - wanted)) == ([], []), told(linted)
    _require_measured(case, lab, linted, request)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_safe_form_is_left_alone(case: Case, lab: Lab, request: pytest.FixtureRequest) -> None:
    linted = lab.lint(case)
    loud = [finding for finding in linted.findings if is_more(finding)]
    _note(request, safe=(int(not loud), 1))
    assert (loud, linted.notes) == ([], ()), told(linted)
    assert [(traced.version, traced.error) for traced in linted.traces] == [
        (version, "") for version in case.versions
    ], "every file was run"
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


def _require_measured(
    case: Case, lab: Lab, linted: Linted, request: pytest.FixtureRequest
) -> None:
    """Require that nothing the trace has refuted is shown: what claims something was measured.

    A statement that was not run (it reaches beyond its database, or something before it failed)
    can refute nothing.
    """
    ran = _ran(linted)
    claims = [f for f in read_texts(lab.folder(case), case.versions).findings if _claims(f)]
    shown = [f for f in linted.findings if _claims(f)]
    refuted = len([f for f in claims if _was_run(f, ran)]) - len(
        [f for f in shown if _was_run(f, ran) and f.measured]
    )
    unmeasured = [f for f in shown if _was_run(f, ran) and not f.measured]
    _note(request, claims=(len(unmeasured), refuted))
    assert unmeasured == [], told(linted)


def _claims(finding: Finding) -> bool:
    rule = BY_ID.get(finding.rule)
    return rule is not None and rule.claim is not None


def _ran(linted: Linted) -> dict[str, int]:
    """Give for each file the line of the last statement that was run."""
    return {
        f"{traced.version}.sql": max(
            (ran.line for ran in traced.statements if not ran.skipped), default=0
        )
        for traced in linted.traces
    }


def _was_run(finding: Finding, ran: dict[str, int]) -> bool:
    return finding.line <= ran.get(finding.file, 0)


def _note(request: pytest.FixtureRequest, **counts: tuple[int, int]) -> None:
    """Hand counts to the summary that conftest prints."""
    request.node.user_properties += [("corpus", sort, *pair) for sort, pair in counts.items()]
