"""A comment for a pull request: what changes in the schema, what is locked, what was found.

Every word of a file or of a server is text, whatever it holds: Markdown, HTML, the `@` that calls
somebody. A comment has an end, too; findings go before locks, those before changes, and what does
not fit is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from headwater.model import Finding, Severity, plural
from headwater.report.changes import what_was_done
from headwater.report.formats.place import Place
from headwater.report.forms import place_of
from headwater.report.linted import summed
from headwater.report.traced import dropped, heavy, work_of
from headwater.verdicts import Effect, Linted, Traced, TracedStatement, Weights

LIMIT: Final = 65_536
"""How many characters a comment may have at GitHub ("Body is too long")."""

MARK: Final = "<!-- headwater lint -->"
"""The first line: whoever writes the comment finds the one before by it."""

# What is kept for the last sentence, and how much of one text is shown.
_RESERVE: Final = 400
_LONG: Final = 600

_FIRST: Final = ("Findings", "Notes", "Locks", "Schema")

_COLUMNS: Final = ("Where", "Statement", "Relation", "Lock", "Meanwhile", "Work")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A heading and its pieces, which fit or are left out one by one."""

    title: str
    word: str
    pieces: tuple[str, ...]
    head: str = ""

    @property
    def frame(self) -> int:
        """Give the length of what is around the pieces."""
        return len(self._begin())

    def _begin(self) -> str:
        return f"\n### {self.title}\n\n{self.head}"

    def written(self, count: int) -> str:
        """Give the section with its first pieces; nothing without any."""
        return self._begin() + "".join(f"{p}\n" for p in self.pieces[:count]) if count else ""


def markdown(outcome: Linted, place: Place) -> str:
    """Give the comment: the sum, changes, locks, findings the worst first, notes."""
    head = f"{MARK}\n## Migrations: {summed(outcome)}\n"
    sections = (
        _Section(title="Schema", word="change", pieces=tuple(_changes(outcome.traces))),
        _Section(title="Locks", word="row", pieces=tuple(_locks(outcome)), head=_table_head()),
        _Section(title="Findings", word="finding", pieces=tuple(_findings(outcome, place))),
        _Section(title="Notes", word="note", pieces=tuple(_notes(outcome))),
    )
    counts = _fitting(sections, LIMIT - _RESERVE - len(head))
    written = [section.written(counts[section.title]) for section in sections]
    return "".join([head, *written, _left_out(sections, counts)])


def _fitting(sections: Iterable[_Section], room: int) -> dict[str, int]:
    """Say how many pieces of each section there is room for, in the order of what matters."""
    counts = dict[str, int]()
    for section in sorted(sections, key=lambda section: _FIRST.index(section.title)):
        room -= section.frame
        counts[section.title] = 0
        for piece in section.pieces:
            if len(piece) >= room:
                break
            room -= len(piece) + 1
            counts[section.title] += 1
    return counts


def _left_out(sections: Iterable[_Section], counts: dict[str, int]) -> str:
    """Say what there was no room for."""
    missing = [
        f"{len(section.pieces) - counts[section.title]} of {plural(len(section.pieces), word)}"
        for section in sections
        if counts[section.title] < len(section.pieces)
        for word in (section.word,)
    ]
    if not missing:
        return ""
    return f"\nA comment holds {LIMIT:,} characters. Left out: {', '.join(missing)}.\n"


# --- the sections -----------------------------------------------------------------------------


def _changes(traces: Iterable[Traced]) -> Iterator[str]:
    for traced in traces:
        for change in traced.changes:
            yield f"- {code(change.object)}: {plain(what_was_done(change))}"


def _locks(outcome: Linted) -> Iterator[str]:
    """Give a row for each relation that was there and that a statement touched or dropped."""
    for traced in outcome.traces:
        for statement in traced.statements:
            where = code(f"{traced.version}.sql:{statement.line}")
            cells = [where, code(statement.text)]
            for effect in statement.effects:
                yield _row([*cells, *_effect_cells(effect, statement, outcome.weights)])
            for gone in statement.gone:
                if gone.cascade:
                    yield _row([*cells, code(gone.identity), "", "", plain(dropped(gone))])
            if statement.skipped:
                yield _row([*cells, "", "", "", plain(f"not run: {statement.skipped}")])


def _effect_cells(effect: Effect, statement: TracedStatement, weights: Weights | None) -> list[str]:
    lock = effect.lock.value if effect.lock else ""
    blocks = effect.lock.blocks if effect.lock else ""
    weight = weights.tables.get(effect.relation) if weights else None
    held = ", ".join(lock.relation for lock in statement.held if lock.relation != effect.relation)
    facts = [*work_of(effect), *heavy(effect, weight), f"still locked: {held}" if held else ""]
    work = "; ".join(fact for fact in facts if fact)
    return [code(effect.relation), lock, plain(blocks), plain(work)]


def _table_head() -> str:
    return f"{_row(_COLUMNS)}\n{_row('---' for _ in _COLUMNS)}\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _findings(outcome: Linted, place: Place) -> Iterator[str]:
    for severity in reversed(Severity):
        for finding in outcome.findings:
            if finding.severity is severity:
                yield "\n".join(_finding(finding, place))


def _finding(finding: Finding, place: Place) -> Iterator[str]:
    """Give a finding as an item: place and rule, then a line each what is known beside."""
    at = place_of(finding)
    where = f" {code(place.path(at))}" if at else ""
    url = place.url_of(finding.page)
    rule = f"[{code(finding.rule)}](<{url}>)" if url else code(finding.rule)
    yield f"- **{finding.severity.value}** {rule}{where}: {plain(finding.message)}"
    why = finding.why if finding.why != finding.message else ""
    for word, text in (("Measured", finding.measured), ("Why", why), ("Instead", finding.hint)):
        if "\n" in text.strip():
            yield f"  - {word}:\n\n{block(text, ' ' * 4)}"
        elif text:
            yield f"  - {word}: {plain(text)}"


def _notes(outcome: Linted) -> Iterator[str]:
    for note in outcome.notes:
        # A word of ours comes first: what begins an item may mean more (a list, a rule).
        yield f"- note: {plain(note)}"
    for traced in outcome.traces:
        for name in traced.unfinished:
            yield f"- {code(f'{traced.version}.sql')} leaves unfinished: {plain(name)}"
        if traced.error:
            yield f"- {code(f'{traced.version}.sql')} does not run: {plain(traced.error)}"
        for note in traced.notes:
            yield f"- {code(f'{traced.version}.sql')}: {plain(note)}"


# --- text as text -----------------------------------------------------------------------------

# All that can mean something in the middle of a line; a backslash takes the meaning away.
_MEANS_SOMETHING: Final = re.compile(r"([\\`*_\[\]<>#|~&$]|:(?=//)|(?<=www)\.)")

# Nothing that is drawn: whoever is behind an @, and what is behind a #, is not called by it.
_APART: Final = "&#8203;"


def plain(text: str) -> str:
    """Give a text that Markdown shows as it is, on one line, cut if it is very long."""
    escaped = _MEANS_SOMETHING.sub(r"\\\1", _one_line(text))
    return escaped.replace("@", f"@{_APART}").replace("\\#", f"\\#{_APART}")


def code(text: str) -> str:
    """Give a text as code. What a code span cannot hold, in a table at least, is in entities."""
    flat = _one_line(text)
    if not flat:
        return ""
    if not set(flat) & set("`|\\"):
        return f"`{flat}`"
    escaped = (c if c.isalnum() or c in " ," else f"&#{ord(c)};" for c in flat)
    return f"<code>{''.join(escaped)}</code>"


def block(text: str, indent: str) -> str:
    """Give a text of several lines as a block of SQL, cut if it is very long."""
    shown = text.strip()
    if len(shown) > 4 * _LONG:
        shown = f"{shown[: 4 * _LONG]} …"
    lines = [_visible(line).rstrip() for line in shown.splitlines()]
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join(f"{indent}{line}" for line in (f"{fence}sql", *lines, fence))


def _one_line(text: str) -> str:
    """Bring a text on one line, and cut it."""
    flat = " ".join(_visible(text).split())
    return flat if len(flat) <= _LONG else f"{flat[:_LONG]} …"


def _visible(text: str) -> str:
    """Give a blank for what is not drawn: what turns the order of a line, or half a character."""
    return "".join(c if c.isprintable() else " " for c in text)
