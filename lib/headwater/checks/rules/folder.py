"""Rules about the folder as a whole: late files, and the file of hashes.

Their examples are folders: comments say which files there are, and `tests/test_checks_folder.py`
makes them. A line `origin/main: NAME` is a file of the base, `the branch adds: NAME` one that the
text below is of, `migrations.lock: NAME …` what the lock file was written from.
"""

from __future__ import annotations

from typing import Final

from headwater.checks.rules.rule import Rule
from headwater.model import Severity

LATE_FILE = Rule(
    id="late-file",
    severity=Severity.ERROR,
    why="Where the base is deployed, migrate refuses a file that is older than what it has run.",
    instead="invoke migration.redate VERSION, once you have taken in the base",
    bad="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260301_a.sql\nselect 1;",
    good="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260303_a.sql\nselect 1;",
)

SAME_DAY = Rule(
    id="same-day",
    severity=Severity.INFO,
    why="The name decides between two files of a day: a rebuild runs this one first, a target that "
    "has the other one runs it last.",
    instead="invoke migration.redate VERSION, or see that neither needs the other",
    bad="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260302_a.sql\nselect 1;",
    good="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260302_c.sql\nselect 1;",
)

EDITED_SINCE_BASE = Rule(
    id="edited-since-base",
    severity=Severity.ERROR,
    why="Who has deployed the base has run the other text: migrate stops there, and the change is "
    "never made.",
    instead="give the file back its text (git checkout BASE -- FILE) and write a new migration",
    bad="-- origin/main: 20260302_b.sql\n-- the branch edits: 20260302_b.sql\nselect 2;",
    good="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260303_b_again.sql\nselect 2;",
)

REMOVED_SINCE_BASE = Rule(
    id="removed-since-base",
    severity=Severity.ERROR,
    why="Who has deployed the base has run it: migrate stops where history knows a file that is "
    "gone.",
    instead="bring it back (git checkout BASE -- FILE); a new migration undoes what it did",
    bad="-- origin/main: 20260302_b.sql\n-- the branch removes: 20260302_b.sql\n",
    good="-- origin/main: 20260302_b.sql\n-- the branch adds: 20260303_drop_b.sql\nselect 1;",
)

_WRITE_ANEW: Final = "invoke migration.lock"

LOCK_CONFLICT = Rule(
    id="lock-conflict",
    severity=Severity.ERROR,
    why="Another branch has added a migration as well: which of them comes first is to be decided.",
    instead=f"see to the order of the files (invoke migration.redate), then: {_WRITE_ANEW}",
    bad="-- migrations.lock: <<<<<<< HEAD\n-- the branch adds: 20260303_c.sql\nselect 1;",
    good="-- migrations.lock: 20260303_c.sql\n-- the branch adds: 20260303_c.sql\nselect 1;",
)

LOCK_MALFORMED = Rule(
    id="lock-malformed",
    severity=Severity.ERROR,
    why="It was edited by hand or damaged, and cannot be compared with the files.",
    instead=_WRITE_ANEW,
    bad="-- migrations.lock: by hand\n-- the branch adds: 20260303_c.sql\nselect 1;",
    good="-- migrations.lock: 20260303_c.sql\n-- the branch adds: 20260303_c.sql\nselect 1;",
)

LOCK_STALE = Rule(
    id="lock-stale",
    severity=Severity.ERROR,
    why="It is not what the files are: two branches that both add one would merge in silence.",
    instead=_WRITE_ANEW,
    bad="-- migrations.lock: 20260302_b.sql\n-- the branch adds: 20260303_c.sql\nselect 1;",
    good="-- migrations.lock: 20260303_c.sql\n-- the branch adds: 20260303_c.sql\nselect 1;",
)

FOLDER: tuple[Rule, ...] = (
    LATE_FILE,
    SAME_DAY,
    EDITED_SINCE_BASE,
    REMOVED_SINCE_BASE,
    LOCK_CONFLICT,
    LOCK_MALFORMED,
    LOCK_STALE,
)
