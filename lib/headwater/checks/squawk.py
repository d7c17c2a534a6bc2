"""Squawk, a linter for PostgreSQL migrations, run on texts and read through its JSON.

Its traps (measured with 2.70): lines count from 0 and columns are bytes from 0; one file that is
not UTF-8 loses the whole batch; one syntax error hides the rest of its file; exit code 1 means
"found something" as well as "failed"; a configuration file is looked for upwards from the current
folder. So it gets accepted, normalised texts only, in a folder of our own with a configuration of
our own, and its answer counts only when it is JSON.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.checks.rules import BY_ID, CHOSEN_OF_SQUAWK
from headwater.files.accepted import Accepted
from headwater.files.text import line_at
from headwater.model import Finding

# Long enough for thousands of files (200 took it 10 ms); short enough to notice that it hangs.
_TIMEOUT_S = 60

_RULES_ON = ", ".join(f'"{rule.id}"' for rule in CHOSEN_OF_SQUAWK)


@dataclass(frozen=True, slots=True, kw_only=True)
class SquawkResult:
    """What squawk found; `note` says why it found nothing when it could not look."""

    findings: tuple[Finding, ...] = ()
    note: str = ""


def run_squawk(files: Sequence[Accepted]) -> SquawkResult:
    """Run squawk on every accepted file: those in a transaction, and those without, apart."""
    binary = _binary()
    if binary is None:
        return SquawkResult(
            note="squawk is not installed (pip install 'headwater[lint]'): "
            "its rules were not looked at"
        )
    findings: list[Finding] = []
    for transactional in (True, False):
        batch = [file for file in files if file.migration.transactional == transactional]
        if not batch:
            continue
        answer = _ask(binary, batch, transactional=transactional)
        if isinstance(answer, str):
            return SquawkResult(note=f"squawk could not be run: {answer}")
        texts = {f"{file.migration.version}.sql": file.migration.text for file in batch}
        findings += [f for item in answer if (f := _finding(item, texts)) is not None]
    return SquawkResult(findings=tuple(findings))


def _binary() -> Path | None:
    """Find squawk beside this Python: PATH need not hold the environment."""
    for name in ("squawk", "squawk.exe"):
        path = Path(sysconfig.get_path("scripts")) / name
        if path.exists():
            return path
    return None


def _ask(
    binary: Path, batch: Sequence[Accepted], *, transactional: bool
) -> list[dict[str, Any]] | str:
    with tempfile.TemporaryDirectory(prefix="headwater-lint-") as folder:
        names = []
        for file in batch:
            name = f"{file.migration.version}.sql"
            (Path(folder) / name).write_bytes(file.migration.text.encode())
            names.append(name)
        config = Path(folder) / "squawk.toml"
        config.write_text(
            f"assume_in_transaction = {str(transactional).lower()}\n"
            f"included_rules = [{_RULES_ON}]\n"
        )
        try:
            done = subprocess.run(
                [binary, "-c", config.name, "--reporter", "json", *names],
                cwd=folder,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return done.stderr.decode(errors="replace").strip().partition("\n")[0] or "no answer"
    return answer if isinstance(answer, list) else "an unknown form of answer"


def _finding(item: dict[str, Any], texts: dict[str, str]) -> Finding | None:
    rule = BY_ID.get(str(item.get("rule_name")))
    name = Path(str(item.get("file"))).name
    if rule is None or not rule.squawk or name not in texts:
        return None
    line = int(item["line"]) + 1
    source = line_at(texts[name], line)
    column = len(source.encode()[: int(item["column"])].decode(errors="ignore")) + 1
    return Finding(
        rule=rule.id,
        severity=rule.severity,
        message=rule.why,
        file=name,
        line=line,
        column=column,
        hint=rule.instead,
        source=source,
    )
