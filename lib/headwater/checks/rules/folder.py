"""Rules about the folder as a whole: late files, and the file of hashes."""

from __future__ import annotations

from headwater.checks.rules.rule import Rule

FOLDER: tuple[Rule, ...] = ()
