"""Resolve references as Python would: names imported in a module, and re-exported ones.

Docstrings and annotations say ``TemporalDetector`` or ``sbp_tad.sbp.SBPConfig``
where Sphinx knows the class by the module that defines it. A name that Python
finds neither in the module of the docstring nor as the only documented object
of that name stays an unknown reference, which ends the build.
"""
from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref,
            text: nodes.Element) -> nodes.Element | None:
    """Return a link, plain text for a name without a page, None for an unknown one."""
    if node.get('refdomain') != 'py':
        return None
    target = node['reftarget']
    known, found = look_up(node.get('py:module'), node.get('py:class'), target)
    name = documented_name(env, found, target)
    if name is not None:
        domain = env.get_domain('py')
        return domain.resolve_xref(env, node['refdoc'], app.builder, 'obj', name, node, text)
    return text if known else None


def look_up(module: str | None, owner: str | None, target: str) -> tuple[bool, Any]:
    """Return whether Python finds the name in the module, its class or by its full path."""
    for scope in (module, f'{module}.{owner}' if module and owner else None, ''):
        if scope is None:
            continue
        try:
            return True, by_path(f'{scope}.{target}' if scope else target)
        except (ImportError, AttributeError, ValueError):
            continue
    return False, None


def by_path(path: str) -> Any:
    """Return the object of a dotted path, whose head is a module."""
    parts = path.split('.')
    for length in range(len(parts), 0, -1):
        name = '.'.join(parts[:length])
        if name in sys.modules or (parts[0] == 'sbp_tad' and is_module(name)):
            found = sys.modules[name]
            for part in parts[length:]:
                found = getattr(found, part)
            return found
    raise ImportError(path)


def is_module(name: str) -> bool:
    """Import a module of the package by name and return whether there is one."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def documented_name(env: BuildEnvironment, found: Any, target: str) -> str | None:
    """Return the name under which the object has a page, if it has one."""
    objects = env.domains.python_domain.objects
    module = getattr(found, '__module__', None)
    name = f'{module}.{getattr(found, "__qualname__", "")}'
    if name in objects:
        return name
    same = [known for known in objects if known.endswith('.' + target)]
    if len(same) == 1:
        return same[0]
    owner, _, member = target.rpartition('.')
    classes = [known for known in objects if owner and known.endswith('.' + owner)]
    if len(classes) != 1:
        return None
    inherited = getattr(by_path(classes[0]), member, None)
    name = f'{getattr(inherited, "__module__", "")}.{getattr(inherited, "__qualname__", "")}'
    return name if name in objects else None


def keep_property_text(app: Sphinx, what: str, name: str, found: Any, options: Any,
                       lines: list[str]) -> None:
    """Restore the docstring of a property, whose first colon Napoleon takes for a type."""
    if what == 'property' and found.__doc__:
        lines[:] = inspect.cleandoc(found.__doc__).splitlines() + ['']


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen for references that Sphinx itself cannot resolve, and for properties."""
    app.connect('missing-reference', resolve)
    app.connect('autodoc-process-docstring', keep_property_text, priority=600)  # after Napoleon
    return dict(parallel_read_safe=True)
