"""Option ``--cfg-options`` of command lines; mmengine is imported only when it is used."""
from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

# Keys whose values are paths, also if they look like numbers, for example data_root=2024.
PATH_KEYS = ('data_root', 'ann_file', 'filename_template', 'work_dir', 'load_from')


class ConfigOptions(argparse.Action):
    """Read ``key=value`` pairs as mmengine's ``DictAction`` does; use it with ``nargs='+'``.

    Values of ``PATH_KEYS`` and below ``data_prefix`` stay text. Dicts, ``dict(a=1, b=2)`` or
    ``{'a': 1}``, are read here: mmengine does not end on one with a comma.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Sequence[str], option_string: str | None = None) -> None:
        """Store the pairs as a dictionary."""
        unpaired = [text for text in values if '=' not in text]
        if unpaired:
            parser.error(f'argument {option_string}: expected key=value, got '
                         f'{", ".join(map(repr, unpaired))}')
        from mmengine.config import DictAction  # only here, so that --help answers at once
        dicts = {}
        for key, _, text in (value.partition('=') for value in values):
            try:
                if text.startswith(('dict(', '{')):
                    dicts[key] = read_literal(ast.parse(text, mode='eval').body)
            except (SyntaxError, ValueError):
                if text.startswith('dict('):  # else a template, for example {video_id}.mp4
                    parser.error(f'argument {option_string}: {key} cannot be read, got {text}; '
                                 "expected for example dict(type='SGD', lr=0.1), with text in "
                                 'quotes')
        action = DictAction(self.option_strings, self.dest, nargs='+')
        action(parser, namespace, [value for value in values
                                   if value.partition('=')[0] not in dicts], option_string)
        pairs = getattr(namespace, self.dest)
        pairs.update(dicts)
        for key, _, text in (value.partition('=') for value in values):
            *parents, name = key.split('.')
            is_path = name in PATH_KEYS or 'data_prefix' in parents[-1:]
            if is_path and not isinstance(pairs[key], (str, type(None))):
                pairs[key] = text


def read_literal(node: ast.AST) -> Any:
    """Return the value of a literal in which dicts may be written ``dict(a=1)``.

    Raises:
        ValueError: another expression.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' \
            and not node.args and all(each.arg for each in node.keywords):
        return {str(each.arg): read_literal(each.value) for each in node.keywords}
    if isinstance(node, ast.Dict) and all(node.keys):
        return {read_literal(key): read_literal(value)
                for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.List):
        return [read_literal(each) for each in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(read_literal(each) for each in node.elts)
    return ast.literal_eval(node)


def add_config_options(parser: argparse.ArgumentParser,
                       help: str = 'key=value pairs that override the config') -> None:
    """Add ``--cfg-options``, whose value is a dictionary, empty by default."""
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={},
                        metavar='KEY=VALUE', help=help)


def parse_pairs(texts: Sequence[str]) -> dict[str, object]:
    """Read ``key=value`` pairs into a dictionary."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--pairs', nargs='+', action=ConfigOptions, default={})
    return parser.parse_args(['--pairs', *texts] if texts else []).pairs
