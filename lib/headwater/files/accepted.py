"""What the parser accepted. Kept apart from it, so that whoever knows the answer can spare it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from headwater.model import Migration

if TYPE_CHECKING:
    from headwater.files.grammar import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence of a post-condition or check, with the query that must give one row, true."""

    sentence: str
    query: str
    file: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A migration that may run, with its post-condition, sentence by sentence.

    What the grammar made of its text is kept only from when it is asked for until `let_go` (a tree
    takes many times as much memory as the text, and there may be thousands); what a run needs of it
    is noted. A text that was accepted before, by its checksum, is neither parsed nor scanned:
    `known_tokens` stand in history.
    """

    migration: Migration
    sentences: tuple[Sentence, ...] = ()
    statements: int | None = None
    """How many statements the grammar has found; None where it was not asked."""
    known_tokens: str = ""
    defines: bool | None = None
    """Whether it only defines things; None where the grammar was not asked."""

    @cached_property
    def script(self) -> Script:
        """Give the parsed text; it stays until `let_go`."""
        from headwater.files.grammar import parse

        return parse(self.migration.text)

    @cached_property
    def tokens(self) -> str:
        """Give the checksum of the tokens."""
        from headwater.files.grammar import token_checksum

        return self.known_tokens or token_checksum(self.migration.text)

    @property
    def only_defines(self) -> bool:
        """Say whether nothing of it can be left in its session after COMMIT."""
        if self.defines is not None:
            return self.defines
        from headwater.files.definitions import only_defines

        return only_defines(self.script)

    def keep(self, script: Script) -> None:
        """Keep what the grammar has made of the text already."""
        self.__dict__["script"] = script

    def let_go(self) -> None:
        """Forget the parsed text."""
        self.__dict__.pop("script", None)
