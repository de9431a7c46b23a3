"""Config of a checkpoint, read from its Python text without running it."""
from __future__ import annotations

import ast
from typing import Any

NUMBERS = dict(inf=float('inf'), nan=float('nan'))


def read_config_text(text: str) -> dict[str, Any]:
    """Read the values of ``Config.pretty_text``; tuples become lists.

    An expression other than a literal, ``dict(...)`` or ``set(...)`` is kept
    as its source text, so that equal expressions compare equal.

    Raises:
        SyntaxError: the text is not Python.
    """
    return {statement.targets[0].id: _value(statement.value)
            for statement in ast.parse(text).body
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {str(_value(key)): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' \
            and all(isinstance(one, ast.Dict) for one in node.args) \
            and all(keyword.arg for keyword in node.keywords):
        named = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
        return {key: value for part in (*map(_value, node.args), named)
                for key, value in part.items()}
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    try:
        return ast.literal_eval(node)  # signed numbers
    except ValueError:
        return ast.unparse(node)
