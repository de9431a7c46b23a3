"""Fixtures that load a tool, and that run it in the process of the tests."""
from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import mmengine.runner.runner  # noqa: F401 - tests/conftest.py replaces its clock
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


def run_tool(name: str, *arguments: Any) -> tuple[Any, str, str]:
    """Run ``tools/NAME.py ARGUMENTS`` in this process: (status, stdout, stderr).

    Environment variables are afterwards as they were.
    """
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors, \
            patch.dict(os.environ), pytest.raises(SystemExit) as caught:
        run_main(tool_module(name).main, list(map(str, arguments)))
    return caught.value.code, out.getvalue(), errors.getvalue()


@pytest.fixture(scope='session')
def call_tool() -> Callable[..., tuple[Any, str, str]]:
    """Return the function that runs a tool in the process of the tests."""
    return run_tool
