"""A migration that may run. Kept apart from the parser, so that whoever knows that can spare it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from headwater.model import Migration

if TYPE_CHECKING:
    from headwater.files.grammar import Script
    from headwater.files.sentences import Sentence


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A migration that may run, with its post-condition, sentence by sentence.

    `parsed` is what the grammar made of its text; None where the same text, by its checksum, was
    accepted before, and `known_tokens` stand in history: then it is parsed only when asked for.
    """

    migration: Migration
    sentences: tuple[Sentence, ...] = ()
    parsed: Script | None = None
    known_tokens: str = ""

    @cached_property
    def script(self) -> Script:
        """Give the parsed text."""
        if self.parsed is not None:
            return self.parsed
        from headwater.files.grammar import parse

        return parse(self.migration.text)

    @property
    def tokens(self) -> str:
        """Give the checksum of the tokens."""
        return self.known_tokens or self.script.token_checksum
