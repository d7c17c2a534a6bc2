"""What a seed must not hold, decided before anything runs.

A seed writes rows. The schema is made by migrations alone, so that a seed which would define
something is refused with its line, like one that would end the transaction that all seeds share.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.errors import FilesError
from headwater.files.text import line_at
from headwater.model import Finding, Migration, Seed, SeedFolder, plural

if TYPE_CHECKING:
    from headwater.files.grammar import Script, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySeed:
    """A seed that may run: what the grammar made of it, or the tree that Python did."""

    seed: Seed
    file: str
    """Its name as messages have it."""
    line: int
    """Of its first statement, or of its function `seed`."""
    script: Script | None = None
    """None of a Python seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySeeds:
    """Seeds that may run, in their order."""

    folder: SeedFolder
    seeds: tuple[ReadySeed, ...]


def accept_seeds(folder: SeedFolder) -> ReadySeeds:
    """Check every seed before the first one runs. Raises FilesError with all findings.

    There must be one: who asks for seeds does not mean none. The parser is loaded here.
    """
    if not folder.seeds and not folder.findings:
        raise FilesError(
            f"there is no seed in {folder.path}",
            hint="write one, such as seeds/10_people.sql; docs/seeds.md shows how",
        )
    ready, findings = check_seeds(folder)
    if findings:
        raise FilesError(
            f"{plural(len(findings), 'problem')} in the seeds; nothing was run",
            findings=findings,
            hint="mend the files, then run the same command again",
        )
    return ready


def check_seeds(folder: SeedFolder) -> tuple[ReadySeeds, tuple[Finding, ...]]:
    """Check seeds one by one; give those that may run, and all that is wrong with the folder."""
    ready, findings = list[ReadySeed](), list(folder.findings)
    for name, text in folder.helpers.items():
        findings += _faults_of_helper(text, folder.shown(f"{name}.py"))
    for seed in folder.seeds:
        file = folder.shown(seed.name)
        checked = _check_python(seed, file) if seed.is_python else _check_sql(seed, file)
        if isinstance(checked, ReadySeed):
            ready.append(checked)
        else:
            findings += checked
    return ReadySeeds(folder=folder, seeds=tuple(ready)), tuple(findings)


# --- SQL --------------------------------------------------------------------------------------


def _check_sql(seed: Seed, file: str) -> ReadySeed | list[Finding]:
    """Parse a seed, and refuse what a migration is refused for, and what writes no rows."""
    from headwater.files.accepted import Accepted
    from headwater.files.parsing import parse_or_explain
    from headwater.files.refusals import check

    script = parse_or_explain(seed.text, file)
    if isinstance(script, Finding):
        return [script]
    version = file.removesuffix(".sql")
    checked = check(Migration(version=version, text=seed.text, checksum=""))
    findings = [] if isinstance(checked, Accepted) else list(checked)
    # Whatever needs no transaction is a definition, and is told below.
    findings = [finding for finding in findings if finding.rule != "no-transaction"]
    findings += [*_faults_of_header(seed, file), *_definitions(script, file)]
    if findings:
        return sorted(findings, key=lambda finding: finding.line)
    return ReadySeed(seed=seed, file=file, line=script.statements[0].line, script=script)


def _faults_of_header(seed: Seed, file: str) -> Iterator[Finding]:
    from headwater.files.directives import HEADER_NAMES, read_header

    for directive in read_header(seed.text):
        if directive.name in HEADER_NAMES:
            yield Finding(
                rule="directive",
                message=f"{directive.name} has no effect here: all seeds run in one transaction",
                file=file,
                line=directive.line,
                column=1,
                hint="remove it",
                source=line_at(seed.text, directive.line),
            )


# Statements that write rows, or only steer those that do. What a DO block or a function does is
# seen by verify.
_WRITES_ROWS = frozenset(
    {
        "call_stmt",
        "constraints_set_stmt",
        "copy_stmt",
        "deallocate_stmt",
        "delete_stmt",
        "do_stmt",
        "execute_stmt",
        "insert_stmt",
        "lock_stmt",
        "merge_stmt",
        "prepare_stmt",
        "refresh_mat_view_stmt",
        "transaction_stmt",  # refused as what it is
        "truncate_stmt",
        "update_stmt",
        "variable_set_stmt",
    }
)


def _definitions(script: Script, file: str) -> Iterator[Finding]:
    for statement in script.statements:
        if not _writes_rows(statement):
            words = re.findall(r"[A-Za-z]+", statement.text)[:2]
            yield Finding(
                rule="seed-statement",
                message=f"{' '.join(words).upper()} is no work for a seed, which writes rows; "
                "the schema is made by migrations alone",
                file=file,
                line=statement.line,
                column=statement.column,
                hint="write it as a migration: invoke migration.new NAME",
                source=line_at(script.text, statement.line),
            )


def _writes_rows(statement: Statement) -> bool:
    """Say whether a statement defines nothing that stays: a temporary table goes with its seed."""
    node = statement.node
    match statement.kind:
        case "select_stmt":
            return not node.HasField("into_clause") or _is_temporary(node.into_clause.rel)
        case "create_table_as_stmt":
            return _is_temporary(node.into.rel)
        case "create_stmt":
            return _is_temporary(node.relation)
        case "vacuum_stmt":
            return not node.is_vacuumcmd  # ANALYZE
        case kind:
            return kind in _WRITES_ROWS


def _is_temporary(relation: Any) -> bool:
    return bool(relation.relpersistence == "t")


# --- Python -----------------------------------------------------------------------------------

_FORM = "def seed(connection: psycopg.Connection) -> None"


def _check_python(seed: Seed, file: str) -> ReadySeed | list[Finding]:
    """Read a seed as Python does, and require its function `seed`; nothing of it is run."""
    tree = _parsed(seed.text, file)
    if isinstance(tree, Finding):
        return [tree]
    named = [node for node in tree.body if getattr(node, "name", "") == "seed"]
    found = named[-1] if named else None
    if isinstance(found, ast.FunctionDef) and _takes_one(found.args):
        return ReadySeed(seed=seed, file=file, line=found.lineno)
    what = "its seed takes not one argument, or is no plain function" if found else "it has none"
    line = found.lineno if found else 1
    return [
        Finding(
            rule="seed-function",
            message=f"a Python seed has a function `{_FORM}`; {what}",
            file=file,
            line=line,
            column=1,
            hint="a module that others import begins with _",
            source=line_at(seed.text, line),
        )
    ]


def _takes_one(arguments: ast.arguments) -> bool:
    """Say whether a function can be called with one value by position, and with nothing else."""
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    room = bool(positional or arguments.vararg)
    return room and required <= 1 and None not in arguments.kw_defaults


def _faults_of_helper(text: str, file: str) -> list[Finding]:
    tree = _parsed(text, file)
    return [tree] if isinstance(tree, Finding) else []


def _parsed(text: str, file: str) -> ast.Module | Finding:
    try:
        return ast.parse(text, filename=file)
    except SyntaxError as error:
        line, column, words = error.lineno or 1, error.offset or 0, error.msg
    except (ValueError, RecursionError, MemoryError) as error:  # nested too deeply
        line, column, words = 1, 0, f"Python cannot read it ({type(error).__name__})"
    source = line_at(text, line)
    return Finding(rule="syntax", message=words, file=file, line=line, column=column, source=source)
