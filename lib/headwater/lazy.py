"""Packages that load a module when one of its names is first used.

A task pays for what it needs: `invoke --list` loads no driver, `invoke migrate` with nothing to
do no parser. (PEP 562; the idea is that of scientific-python's lazy_loader, without its stubs.)
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def exporting(package: str, **modules: str) -> Callable[[str], Any]:
    """Give a package's `__getattr__`: each name is found in the module that it is said to be in.

    `name="module"` finds `module.name`, `name="module.other"` finds `module.other`. A name must
    not be that of a module of the package: loading the module would take its place.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = modules[name].partition(".")
        return getattr(import_module(f"{package}.{module}"), attribute or name)

    return load
