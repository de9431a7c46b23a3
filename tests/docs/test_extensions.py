"""The extensions that draw the reference from parsers, registries and docstrings."""
import argparse
import sys

import pytest
from pages import ROOT

pytest.importorskip('sphinx', reason='installed with the extra "docs"')
sys.path.append(str(ROOT / 'docs/_ext'))

import component_tables  # noqa: E402
import python_names  # noqa: E402
import tool_options  # noqa: E402

TOOL = '''"""Count things; see --fast."""
import argparse


def build_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument('things', nargs='+', help='what to count')
    parser.add_argument('--kind', choices=['a|b', 'c'], default='c', help='of the things')
    parser.add_argument('--fast', action='store_true', help='count fast')
    parser.add_argument_group('more').add_argument('--out', help='as --fast; <FILE> to write')
    parser.add_argument('--hidden', help=argparse.SUPPRESS)
    return parser


def main():
    raise AssertionError('a tool is imported, not run')
'''


def test_options_of_a_tool(tmp_path, monkeypatch):
    path = tmp_path / 'tools/count.py'
    path.parent.mkdir()
    path.write_text(TOOL)
    monkeypatch.setattr(tool_options, 'ROOT', tmp_path)
    lines = tool_options.describe(path)
    assert lines[0] == '### `python tools/count.py`' and lines[2] == 'Count things; see `--fast`.'
    assert '| `things [things ...]` | what to count |' in lines
    assert r'| `--kind {a\|b,c}` | of the things (default: `c`) |' in lines
    assert '| `--fast` | count fast |' in lines
    assert lines.index('**more**') < lines.index(r'| `--out OUT` | as `--fast`; \<FILE> to write |')
    assert not any('hidden' in line for line in lines)


def test_a_module_that_is_no_program_has_no_section(tmp_path):
    (tmp_path / 'helper.py').write_text('raise AssertionError("never imported")\n')
    assert tool_options.describe(tmp_path / 'helper.py') == []


def test_options_within_code_stay():
    assert tool_options.mark_options('``a --b`` and --c') == '``a --b`` and `--c`'


def test_a_benchmark_is_a_module():
    assert tool_options.command_of(ROOT / 'benchmarks/x.py') == 'python -m benchmarks.x'


def test_choices_without_a_help_text_are_shown():
    parser = argparse.ArgumentParser()
    action = parser.add_argument('--split', choices=['train', 'test'])
    assert tool_options.names(parser, action) == '`--split {train,test}`'
    assert tool_options.meaning(parser, action) == ''


def test_the_summary_of_a_component_is_one_line():
    class Component:
        """Head of :class:`Detector`,
        with ``a | b``.

        More of it.
        """
    assert component_tables.summary(Component) == r'Head of `Detector`, with `a \| b`.'


@pytest.mark.parametrize('module, owner, target', [
    ('sbp_tad.sbp.clipwise', None, 'SBPConfig'),  # imported there
    ('sbp_tad.evaluation.evaluate', None, 'sbp_tad.sbp.SBPConfig'),  # exported by its package
    ('sbp_tad.sbp.config', 'SBPConfig', 'clips_with_grad')])
def test_names_are_known_where_python_knows_them(module, owner, target):
    assert python_names.is_module(module)
    assert python_names.look_up(module, owner, target)[0]


def test_unknown_names_stay_unknown():
    for target in ('SBPConfiguration', 'sbp_tad.sbp.Nothing', 'sbp_tad.nothing'):
        assert python_names.look_up('sbp_tad.sbp.clipwise', None, target) == (False, None)
