"""From the bytes of a file to the text that is hashed and run.

One leading byte-order mark goes and CRLF becomes LF, before hashing and before running, so that
an editor or a checkout on another system changes neither the checksum nor a function's body.
Nothing else is touched: an edit of one blank is an edit.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from functools import cached_property

from headwater.model import Finding

# Larger than any file written by hand; a file is held in memory and sent in one message.
MAX_BYTES = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_ANY_WIDE_BOM = tuple(_WIDE_BOMS)


def normalise(raw: bytes, file: str) -> str | Finding:
    """Decode and normalise a file's bytes, or say where they are no plain UTF-8 text.

    A NUL byte is refused because PostgreSQL's client library would silently stop reading there.
    """
    if raw.startswith(_ANY_WIDE_BOM):
        encoding = next(name for mark, name in _WIDE_BOMS.items() if raw.startswith(mark))
        return _fault(raw, 0, file, f"the file is {encoding}, not UTF-8")
    if (nul := raw.find(b"\x00")) >= 0:
        return _fault(raw, nul, file, "the file holds a NUL byte, which would cut it off there")
    try:
        text = raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (len(_BOM) if raw.startswith(_BOM) else 0)
        return _fault(raw, offset, file, f"the byte 0x{raw[offset]:02X} is not UTF-8")
    return text.replace("\r\n", "\n") if "\r" in text else text


def _fault(raw: bytes, offset: int, file: str, message: str) -> Finding:
    before = raw[:offset].removeprefix(_BOM).decode("utf-8", "replace")
    line, column = place(before, len(before))
    return Finding(
        rule="not-utf-8",
        message=f"{message} (byte offset {offset})",
        file=file,
        line=line,
        # The offset counts bytes, as a hex editor does; the column characters, as others do.
        column=column,
        hint="save the file as UTF-8",
    )


def checksum(text: str) -> str:
    """Give the checksum of normalised text, with the version of the rule: `sha256-1:…`.

    Rule 1: SHA-256 of the UTF-8 bytes of the text as `normalise` gives it. A stored value is
    compared by its own rule for ever; a better rule would get another number.
    """
    return f"sha256-1:{hashlib.sha256(text.encode()).hexdigest()}"


# A password as SQL writes it, and that of a URL.
_SECRETS = (
    (re.compile(r"(password\s*'{0,2}\s*,?\s*)'(?:[^']|'')*'", re.IGNORECASE), r"\1'***'"),
    (re.compile(r"(://[^\s:/@]*):[^\s@]*@"), r"\1:***@"),
)


def without_secrets(text: str) -> str:
    """Give a part of a file that is to be shown, without the passwords that are written in it."""
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return text


# What ends a line: for PostgreSQL, psql and editors a lone CR does as well (an old Mac's file).
_LINE_END = re.compile(r"\r\n?|\n")


def line_starts(text: str) -> list[int]:
    """Give the offset in characters at which each line of a text begins."""
    if "\r" in text:
        return [0, *(end.end() for end in _LINE_END.finditer(text))]
    return [0, *(end.end() for end in re.finditer("\n", text))]


def count_lines(text: str, start: int, end: int) -> int:
    """Count the ends of lines in a part of a text, which does not begin inside one."""
    if text.find("\r", start, end) >= 0:  # in the part alone: a long text is asked often
        return sum(1 for _ in _LINE_END.finditer(text, start, end))
    return text.count("\n", start, end)


def place(text: str, position: int) -> tuple[int, int]:
    """Turn an offset in characters into line and column, both counted from 1."""
    starts = line_starts(text)
    line = bisect_right(starts, position)
    return line, position - starts[line - 1] + 1


def line_at(text: str, line: int) -> str:
    """Give one line of a text, counted from 1, or an empty string when there is none."""
    lines = _LINE_END.split(text, line) if "\r" in text else text.split("\n", line)
    return lines[line - 1] if 0 < line <= len(lines) else ""


class Places:
    """Where the characters of one text are: as `place` and `line_at`, for one that is asked often.

    Columns count from 1, in characters. The parser and squawk count bytes.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._raw = None if text.isascii() else text.encode()

    @cached_property
    def _starts(self) -> list[int]:
        return line_starts(self.text)

    def character(self, offset: int) -> int:
        """Turn an offset in UTF-8 bytes into one in characters."""
        return offset if self._raw is None else len(self._raw[:offset].decode(errors="ignore"))

    def byte(self, position: int) -> int:
        """Turn an offset in characters into one in UTF-8 bytes."""
        return position if self._raw is None else len(self.text[:position].encode())

    def of(self, position: int) -> tuple[int, int]:
        """Give line and column of an offset in characters."""
        line = bisect_right(self._starts, position)
        return line, position - self._starts[line - 1] + 1

    def line(self, line: int) -> str:
        """Give one line, without its end."""
        behind = self._starts[line] if line < len(self._starts) else len(self.text)
        return self.text[self._starts[line - 1] : behind].rstrip("\r\n")

    def start_of(self, line: int) -> int:
        """Give the offset in characters at which a line begins."""
        return self._starts[line - 1]
