"""Python seeds as modules: of the text that was read, and gone when they have run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from headwater.files.seed_modules import module_of
from headwater.files.seeds import read_seeds_in
from headwater.model import Seed, SeedFolder
from tests.support import write_files

SEED = "import _helpers_of_seeds\n\ndef seed(connection):\n    return _helpers_of_seeds.NAME\n"
HELPER = "import _more_of_seeds\n\nNAME = _more_of_seeds.NAME\n"
FILES = {"10_a.py": SEED, "_helpers_of_seeds.py": HELPER, "_more_of_seeds.py": "NAME = 'read'\n"}


def read(folder: Path, files: dict[str, str] | None = None) -> tuple[Seed, SeedFolder]:
    write_files(folder, files or FILES)
    seeds = read_seeds_in(folder)
    return seeds.seeds[0], seeds


def test_a_seed_imports_from_its_folder_alone_while_it_runs(tmp_path: Path) -> None:
    path, finders = [*sys.path], [*sys.meta_path]
    with module_of(*read(tmp_path)) as module:
        assert module.seed(None) == "read"
        assert sys.path == path
        assert module.__file__ == str(tmp_path / "10_a.py")
    assert sys.meta_path == finders
    assert not [name for name in sys.modules if "_of_seeds" in name or "headwater_seed" in name]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(FILES)


def test_an_import_may_come_when_the_function_is_called(tmp_path: Path) -> None:
    late = "def seed(connection):\n    import _more_of_seeds\n    return _more_of_seeds.NAME\n"
    with module_of(*read(tmp_path, FILES | {"10_a.py": late})) as module:
        assert module.seed(None) == "read"


def test_what_was_read_is_what_runs(tmp_path: Path) -> None:
    seed, seeds = read(tmp_path)
    write_files(tmp_path, dict.fromkeys(FILES, "NAME = 'changed meanwhile'\n"))
    with module_of(seed, seeds) as module:
        assert module.seed(None) == "read"


def test_a_module_of_the_same_name_is_there_again_afterwards(tmp_path: Path) -> None:
    mine = sys.modules["_more_of_seeds"] = ModuleType("_more_of_seeds")
    try:
        with module_of(*read(tmp_path)) as module:
            assert module.seed(None) == "read"
        assert sys.modules["_more_of_seeds"] is mine
    finally:
        del sys.modules["_more_of_seeds"]


def test_a_seed_may_define_what_looks_for_its_module(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Person:\n    name: str\n\n"
        "def seed(connection):\n    return Person('a').name\n"
    )
    with module_of(*read(tmp_path, {"10_a.py": text})) as module:
        assert module.seed(None) == "a"


def test_after_a_failure_nothing_is_left_either(tmp_path: Path) -> None:
    finders = [*sys.meta_path]
    with (
        pytest.raises(ModuleNotFoundError),
        module_of(*read(tmp_path, {"10_a.py": "import _not_there\n"})),
    ):
        pass
    assert sys.meta_path == finders
