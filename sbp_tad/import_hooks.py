"""Modules that other packages lack, and additions to those that may be imported later."""
from __future__ import annotations

import importlib.abc
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any


class AfterImport(importlib.abc.MetaPathFinder):
    """Calls ``add(module)`` once a module is imported, if it ever is."""

    def __init__(self, module: str, add: Callable[[types.ModuleType], None]) -> None:
        self.module, self.add = module, add

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module's own specification, with an addition to its execution."""
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_add(module: types.ModuleType) -> None:
            execute(module)
            self.add(module)

        spec.loader.exec_module = execute_and_add
        return spec


def after_import(module: str, add: Callable[[types.ModuleType], None]) -> None:
    """Call ``add`` with a module now, or when it is imported; ``import sbp_tad`` imports none."""
    if module in sys.modules:
        add(sys.modules[module])
    elif not any(isinstance(finder, AfterImport) and finder.module == module
                 for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterImport(module, add))


class DRNFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder of ``mmaction.models.localizers.drn``, after all other finders."""

    package = 'mmaction.models.localizers.drn'

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return a module specification for the two names, None for any other."""
        if name not in (self.package, f'{self.package}.drn'):
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == self.package)

    def create_module(self, spec: Any) -> types.ModuleType | None:
        """Leave the module object to the import system."""
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill the inner module with a placeholder of the class."""
        if module.__name__ != self.package:
            module.DRN = type('DRN', (), {'__doc__': 'Missing from the wheel of mmaction2.'})
