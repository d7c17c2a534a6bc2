"""The names that PostgreSQL chooses for constraints that have none.

Who adds one in two steps has to name it, and the schema must be the one that a single step gives.
(makeObjectName and ChooseConstraintName in PostgreSQL's sources; the tests compare.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# NAMEDATALEN, without the byte that ends a name.
_LONGEST = 63


def chosen_name(table: str, columns: Sequence[str], label: str, taken: Iterable[str]) -> str:
    """Give `table_columns_label`, with the first number that makes it new; "" when unsure.

    `label` is `check`, `fkey`, `key`, `pkey` or `not_null`. A long name is cut in bytes, and
    perhaps inside a character: beyond ASCII that is left to PostgreSQL.
    """
    known = frozenset(taken)
    for number in range(len(known) + 1):
        name = _composed(table, "_".join(columns), f"{label}{number or ''}")
        if name not in known:
            return name
    return ""


def _composed(table: str, columns: str, label: str) -> str:
    room = _LONGEST - len(label) - 1 - bool(columns)
    both = f"{table}{columns}"
    if not both.isascii() and len(both.encode()) > room:
        return ""
    mine, theirs = len(table), min(len(columns), _LONGEST)
    while mine + theirs > room:
        if mine > theirs:
            mine -= 1
        else:
            theirs -= 1
    return "_".join(filter(None, [table[:mine], columns[:theirs], label]))


def columns_of_check(expression: Any, table: str) -> tuple[str, ...] | None:
    """Give the column that names a check constraint: the only one that it reads, or none.

    None means that the text does not say: it reads a whole row.
    """
    found = list[str]()
    for reference in _column_references(expression):
        last = reference.fields[-1].string.sval
        if not last or (len(reference.fields) == 1 and last == table):
            return None
        found.append(last)
    names = tuple(dict.fromkeys(found))
    return names if len(names) == 1 else ()


def _column_references(message: Any) -> Iterable[Any]:
    stack = [message]
    while stack:
        one = stack.pop()
        if one.DESCRIPTOR.name == "ColumnRef":
            yield one
            continue
        for descriptor, value in one.ListFields():
            if descriptor.message_type is not None:
                stack += value if hasattr(value, "__len__") else [value]
