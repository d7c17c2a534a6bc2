"""Parsing files: a text becomes a script, or the finding that says where it is none."""

from __future__ import annotations

from headwater.files.grammar import NotParsed, Script, parse
from headwater.files.text import line_at, place
from headwater.model import Finding


def parse_or_explain(text: str, file: str) -> Script | Finding:
    """Parse a text, or say at which line, column and character the grammar refuses it."""
    try:
        return parse(text)
    except NotParsed as error:
        line, column = place(text, error.position)
        return Finding(
            rule=error.rule,
            message=error.message,
            file=file,
            line=line,
            column=column,
            hint=error.hint,
            source=line_at(text, line),
        )
