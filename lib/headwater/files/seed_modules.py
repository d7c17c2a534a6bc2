"""Python seeds as modules: made of the text that was hashed, and gone when they have run.

A seed is not found through sys.path, and neither are the modules that it imports from its folder
(`_names.py`): both are made of what was read from it. No bytecode is left behind.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from headwater.model import Seed, SeedFolder

_PREFIX = "headwater_seed_"

# sys.modules and sys.meta_path belong to the process: one seed at a time.
_importing = threading.RLock()


@contextmanager
def module_of(seed: Seed, folder: SeedFolder) -> Generator[ModuleType]:
    """Run the module of a seed, and give it; its helpers can be imported while it is entered.

    Afterwards whatever has their names is as it was before. Raises what the module does.
    """
    name = _PREFIX + seed.name.removesuffix(".py")
    texts = {name: seed.text, **folder.helpers}
    files = {name: folder.path / seed.name}
    files |= {each: folder.path / f"{each}.py" for each in folder.helpers}
    finder = _Finder(texts, files)
    with _importing:
        before = {each: sys.modules.pop(each) for each in texts if each in sys.modules}
        sys.meta_path.insert(0, finder)
        try:
            yield import_module(name)
        finally:
            sys.meta_path.remove(finder)
            for each in texts:
                sys.modules.pop(each, None)
            sys.modules.update(before)


class _Finder(MetaPathFinder, InspectLoader):
    """Finds modules by their names alone, and makes them of the texts that were read."""

    def __init__(self, texts: Mapping[str, str], files: Mapping[str, Path]) -> None:
        self.texts, self.files = texts, files

    def find_spec(self, fullname: str, path: Sequence[str] | None, *_: object) -> ModuleSpec | None:
        """Give the spec of a module of the folder; None for every other one."""
        if path is not None or fullname not in self.texts:
            return None
        return spec_from_file_location(fullname, self.files[fullname], loader=self)

    def get_source(self, fullname: str) -> str:
        """Give the text that was read, whatever the file holds by now."""
        return self.texts[fullname]

    def get_code(self, fullname: str) -> CodeType:
        """Compile that text, under the path of the file."""
        return compile(self.texts[fullname], self.files[fullname], "exec", dont_inherit=True)
