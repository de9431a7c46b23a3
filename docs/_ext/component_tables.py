"""Directive ``component-table``: what configs can name, from the registries.

The argument is a registry of :mod:`sbp_tad.registry`. Every class that this
project registers there becomes a row: its ``type``, and the first sentence of
its docstring, linked to the page that explains every field.
"""
from __future__ import annotations

import importlib
import inspect
import pkgutil

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import sbp_tad
from sbp_tad import registry


class ComponentTable(SphinxDirective):
    """Table of the components of one registry, in the order of their modules."""

    required_arguments = 1
    option_spec = {'under': directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the table as parsed Markdown."""
        import_all()
        under = self.options.get('under', 'sbp_tad')
        entries = getattr(registry, self.arguments[0]).module_dict
        rows = [(entry.__module__, name, entry) for name, entry in entries.items()
                if entry.__module__.startswith(under)]
        if not rows:
            raise self.error(f'no component of {self.arguments[0]} lies under {under}')
        lines = ['| type | what it is |', '|---|---|']
        for module, name, entry in sorted(rows, key=lambda row: row[:2]):
            role = 'class' if inspect.isclass(entry) else 'func'
            target = f'{module}.{entry.__qualname__}'
            lines.append(f'| {{py:{role}}}`{name} <{target}>` | {summary(entry)} |')
        return self.parse_text_to_nodes('\n'.join(lines))


def summary(entry: object) -> str:
    """Return the first paragraph of a docstring in one line, its roles as code."""
    first = inspect.cleandoc(entry.__doc__ or '').split('\n\n')[0]
    for role in ('class', 'func', 'mod', 'meth', 'data'):
        first = first.replace(f':{role}:`', '`')
    return ' '.join(first.replace('``', '`').replace('`~', '`').split()).replace('|', r'\|')


def import_all() -> None:
    """Import every module of the package, so that all of it is registered."""
    for module in pkgutil.walk_packages(sbp_tad.__path__, 'sbp_tad.'):
        importlib.import_module(module.name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('component-table', ComponentTable)
    return dict(parallel_read_safe=True)
