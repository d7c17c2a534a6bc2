"""Post-conditions and checks: files of `SELECT boolean AS "a sentence that must hold";`."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.files.grammar import NotParsed, Statement, parse
from headwater.files.text import line_at, place
from headwater.model import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence with the query that must give exactly one row, true."""

    sentence: str
    query: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentences:
    """What was read from one file: its sentences, and what is wrong with it."""

    sentences: tuple[Sentence, ...]
    findings: tuple[Finding, ...] = ()


def read_sentences(text: str, file: str) -> Sentences:
    """Read a post-condition or a check: a list of SELECTs of one boolean with a name each."""
    try:
        script = parse(text)
    except NotParsed as error:
        line, column = place(text, error.position)
        fault = Finding(rule="syntax", message=error.message, file=file, line=line, column=column,
                        hint=error.hint, source=line_at(text, line))  # fmt: skip
        return Sentences(sentences=(), findings=(fault,))
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
        findings.append(Finding(rule="empty", message="the file holds no sentence", file=file,
                                line=1, column=1))  # fmt: skip
    return Sentences(sentences=tuple(sentences), findings=tuple(findings))


def _name(statement: Statement) -> str:
    """Give the name of the one column of a SELECT, or nothing when it is not that simple."""
    node = statement.node
    if statement.kind != "select_stmt" or len(node.target_list) != 1 or node.HasField("into_clause"):
        return ""
    return str(node.target_list[0].res_target.name)
