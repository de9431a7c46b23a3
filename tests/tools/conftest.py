"""Fixtures that load a tool, and that run it in the process of the tests."""
from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sbp_tad.apis.command_line import run_main

ROOT = Path(__file__).parents[2]


@cache
def tool_module(name: str) -> ModuleType:
    """Import ``tools/NAME.py``; its ``main`` is not run."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def load_tool() -> Callable[[str], ModuleType]:
    """Return the function that imports a tool as a module."""
    return tool_module


@pytest.fixture
def call_tool(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Return a function that runs ``tools/NAME.py ARGUMENTS``: (status, stdout, stderr)."""
    def call(name: str, *arguments: Any) -> tuple[Any, str, str]:
        capsys.readouterr()  # only the tool's own output is returned
        with pytest.raises(SystemExit) as caught:
            run_main(tool_module(name).main, list(map(str, arguments)))
        return (caught.value.code, *capsys.readouterr())
    return call
