"""A fixture that runs a tool in the process of the tests."""
from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbp_tad.apis.command_line import run_main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call_tool(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Return a function that runs ``tools/NAME.py ARGUMENTS``: (status, stdout, stderr)."""
    mains: dict[str, Callable[..., Any]] = {}

    def call(name: str, *arguments: Any) -> tuple[Any, str, str]:
        if name not in mains:
            mains[name] = runpy.run_path(str(ROOT / 'tools' / f'{name}.py'))['main']
        with pytest.raises(SystemExit) as caught:
            run_main(mains[name], list(map(str, arguments)))
        return (caught.value.code, *capsys.readouterr())
    return call
