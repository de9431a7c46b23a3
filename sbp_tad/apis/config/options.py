"""Option ``--cfg-options`` of command lines; mmengine is imported only when it is used."""
from __future__ import annotations

import argparse
from collections.abc import Sequence

# Keys whose values are paths, also if they look like numbers, for example data_root=2024.
PATH_KEYS = ('data_root', 'ann_file', 'filename_template', 'work_dir', 'load_from')


class ConfigOptions(argparse.Action):
    """Read ``key=value`` pairs as mmengine's ``DictAction`` does; use it with ``nargs='+'``.

    Values of ``PATH_KEYS`` and below ``data_prefix`` stay text.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Sequence[str], option_string: str | None = None) -> None:
        """Store the pairs as a dictionary."""
        unpaired = [text for text in values if '=' not in text]
        if unpaired:
            parser.error(f'argument {option_string}: expected key=value, got '
                         f'{", ".join(map(repr, unpaired))}')
        from mmengine.config import DictAction  # only here, so that --help answers at once
        action = DictAction(self.option_strings, self.dest, nargs='+')
        action(parser, namespace, values, option_string)
        pairs = getattr(namespace, self.dest)
        for key, _, text in (value.partition('=') for value in values):
            *parents, name = key.split('.')
            is_path = name in PATH_KEYS or 'data_prefix' in parents[-1:]
            if is_path and not isinstance(pairs[key], (str, type(None))):
                pairs[key] = text


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
