"""Post-conditions and checks: files of `SELECT boolean AS "a sentence that must hold";`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from headwater.files.accepted import Sentence
from headwater.files.grammar import Statement
from headwater.files.parsing import parse_or_explain
from headwater.files.text import line_at
from headwater.model import Finding

# A cut never falls inside a character, of which the longest has four bytes.
_SHORTEST_CUT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """What was read from one file: its sentences, and what is wrong with it."""

    sentences: tuple[Sentence, ...]
    findings: tuple[Finding, ...] = ()


def read_sentences(text: str, file: str) -> Sentences:
    """Read a post-condition or a check: a list of SELECTs of one boolean with a name each."""
    script = parse_or_explain(text, file)
    if isinstance(script, Finding):
        return Sentences(sentences=(), findings=(script,))
    sentences, findings = [], []
    for statement in script.statements:
        name = _name(statement)
        if name:
            sentences.append(
                Sentence(sentence=name, query=statement.text, file=file, line=statement.line)
            )
        else:
            findings.append(
                Finding(
                    rule="not-a-sentence",
                    message="a post-condition or check holds only SELECTs of one named column",
                    file=file,
                    line=statement.line,
                    column=statement.column,
                    hint='write: select count(*) = 0 as "no document is without a hash";',
                    source=line_at(text, statement.line),
                )
            )
    if not script.statements:
        findings.append(
            Finding(rule="empty", message="the file holds no sentence", file=file, line=1, column=1)
        )
    return Sentences(sentences=tuple(sentences), findings=tuple(findings))


def _name(statement: Statement) -> str:
    """Give the name of the one column of a SELECT, or nothing when it is not that simple."""
    node = statement.node
    if statement.kind != "select_stmt" or len(node.target_list) != 1 or _writes(node):
        return ""
    name = str(node.target_list[0].res_target.name)
    return _whole(name, statement.text) if name.strip() else ""


def _writes(select: Any) -> bool:
    """Say whether a SELECT makes a table or changes data: what asks must not change the answer."""
    parts = (part.common_table_expr.ctequery for part in select.with_clause.ctes)
    changes = any(part.WhichOneof("node") != "select_stmt" for part in parts)
    return changes or select.HasField("into_clause")


def _whole(name: str, query: str) -> str:
    """Give a sentence whole again: PostgreSQL, and so its parser, cut names at 63 bytes."""
    if len(name.encode()) < _SHORTEST_CUT:
        return name
    quoted = re.escape(name.replace('"', '""'))
    whole = re.search(rf'"({quoted}(?:[^"]|"")*)"', query)
    return whole[1].replace('""', '"') if whole else name
