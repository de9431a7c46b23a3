"""Consoles print text as it is: rich reads neither markup nor emoji codes in it."""
import ast
from pathlib import Path

import pytest

from sbp_tad.apis.command_line import report

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ('sbp_tad', 'tools', 'benchmarks')
                 for path in (ROOT / folder).rglob('*.py'))


def console_calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'Console':
            yield node


def test_every_console_is_plain():
    calls = [(path, call) for path in SOURCES for call in console_calls(path)]
    assert len(calls) > 10
    for path, call in calls:
        options = {word.arg: ast.literal_eval(word.value) for word in call.keywords
                   if word.arg in ('markup', 'emoji')}
        assert options == dict(markup=False, emoji=False), f'{path}:{call.lineno}'


@pytest.mark.parametrize('text', ['start:end:step', 'a [bold]class[/bold]', 'a [/x] b', ':100:'])
def test_an_error_keeps_its_text(text, capsys):
    report(text)
    assert capsys.readouterr().err == f'Error: {text}\n'
