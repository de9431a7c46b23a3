"""Directive ``tool-options``: the options of every command-line tool, from its parser.

Each tool of a folder has a function ``build_parser()``, which needs no heavy
import. A tool without one is listed with what it prints for ``--help``.
"""
from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import io
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r'(?<![\w`\'"-])--[a-z][a-z0-9-]*')  # in running text


class ToolOptions(SphinxDirective):
    """Sections, one per tool of the folder that is its argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sections as parsed reStructuredText."""
        lines = []
        os.environ['COLUMNS'] = '100'  # the width of usages, whatever the terminal
        for path in sorted((ROOT / self.arguments[0]).glob('*.py')):
            self.env.note_dependency(str(path))
            lines += describe(path)
        return self.parse_text_to_nodes('\n'.join(lines), allow_section_headings=True)


def describe(path: Path) -> list[str]:
    """Return the section of one tool, nothing for a module that is no program."""
    if '\ndef main(' not in path.read_text():
        return []
    module = load(path)
    command = command_of(path)
    text = mark_options(inspect.cleandoc(module.__doc__ or ''))
    lines = [f'### `{command}`', '', *text.splitlines(), '']
    if hasattr(module, 'build_parser'):
        parser = module.build_parser()
        parser.prog = command
        return lines + option_lines(parser)
    return lines + ['```text', *printed_help(module), '```', '']


def printed_help(module: ModuleType) -> list[str]:
    """Return what a tool without ``build_parser`` prints for ``--help``."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        module.main(['--help'])
    text = printed.getvalue().partition('usage: ')[2]
    return text.replace('__main__.py', Path(module.__file__).name, 1).splitlines()


def command_of(path: Path) -> str:
    """Return what a user types: a path, or a module of the benchmarks."""
    if path.parent.name == 'benchmarks':
        return f'python -m benchmarks.{path.stem}'
    return f'python {path.relative_to(ROOT)}'


def load(path: Path):
    """Import a tool by its file, without running it."""
    spec = importlib.util.spec_from_file_location(f'docs_tool_{path.stem}', path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def option_lines(parser: argparse.ArgumentParser) -> list[str]:
    """Return the usage and one table of options per group, arguments before options."""
    indent = ' ' * len('usage: ')
    usage = parser.format_usage().removeprefix('usage: ').rstrip().splitlines()
    lines = ['```text', *(line.removeprefix(indent) for line in usage), '```', '']
    tables: dict[str, list[str]] = {}
    for group in parser._action_groups:
        title = '' if group.title in ('options', 'positional arguments') else group.title
        tables.setdefault(title, []).extend(
            f'| {names(parser, action)} | {meaning(parser, action)} |'
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest != 'help')
    for title, rows in tables.items():
        if rows:
            lines += [f'**{title}**', ''] if title else []
            lines += ['| option | meaning |', '|---|---|', *rows, '']
    return lines


def names(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the spellings of an option with its values, as code."""
    formatter = parser._get_formatter()
    if not action.option_strings:
        return code(formatter._format_args(action, action.metavar or action.dest))
    value = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ''
    return code(f"{', '.join(action.option_strings)} {value}".strip())


def code(text: str) -> str:
    """Return text as code in a cell of a Markdown table."""
    return '`' + ' '.join(text.split()).replace('|', r'\|') + '`'


def meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the help text, with its default where the text does not say it."""
    text = parser._get_formatter()._expand_help(action) if action.help else ''
    wanted = action.default not in (None, False, argparse.SUPPRESS, [], ())
    if wanted and action.nargs != 0 and 'default' not in text:
        text += f' (default: `{action.default}`)'
    return cell(text)


def cell(text: str) -> str:
    """Escape what would end a cell of a Markdown table or read as markup."""
    text = mark_options(' '.join(text.split()))
    return text.replace('|', r'\|').replace('<', r'\<').replace('*', r'\*')


def mark_options(text: str) -> str:
    """Write options as code, so that their hyphens stay; leave what is code as it is."""
    parts = re.split(r'(`+[^`]*`+)', text)
    parts[::2] = [OPTION.sub(r'`\g<0>`', part) for part in parts[::2]]
    return ''.join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('tool-options', ToolOptions)
    return dict(parallel_read_safe=True)
