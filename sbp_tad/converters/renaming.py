"""Rules that rename the weights of a state dict."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rule:
    """A pattern of names and what becomes of the weights that have them.

    Args:
        pattern: regular expression that matches a whole name.
        name: new name, with the groups of the pattern (``\\1``).
        change: function of the weight, such as a new shape; None keeps it.
    """

    pattern: str
    name: str
    change: Change | None = None

    def apply(self, name: str, weight: Tensor) -> tuple[str, Tensor] | None:
        """Return the new name and weight, or None if the rule does not match."""
        match = re.fullmatch(self.pattern, name)
        if match is None:
            return None
        return match.expand(self.name), weight if self.change is None else self.change(weight)


def rename(weights: Mapping[str, Tensor], rules: Iterable[Rule]
           ) -> tuple[dict[str, Tensor], list[str]]:
    """Return the renamed weights, and the names that no rule matches.

    Every rule that matches a name applies, so one weight can become several.
    """
    rules = tuple(rules)
    renamed: dict[str, Tensor] = {}
    unmapped = []
    for name, weight in weights.items():
        found = dict(_apply_all(name, weight, rules))
        renamed.update(found)
        if not found:
            unmapped.append(name)
    return renamed, unmapped


def _apply_all(name: str, weight: Tensor, rules: tuple[Rule, ...]) -> Iterator[tuple[str, Tensor]]:
    for rule in rules:
        result = rule.apply(name, weight)
        if result is not None:
            yield result


def third(number: int) -> Change:
    """Return the function that takes one third of the rows: query, key or value in one matrix."""
    return lambda weight: weight.chunk(3)[number].clone()


def targets(name: str, rules: Iterable[Rule]) -> list[str]:
    """Return the names under which the weight ``name`` goes on, in the order of the rules."""
    matches = ((re.fullmatch(rule.pattern, name), rule) for rule in rules)
    return [match.expand(rule.name) for match, rule in matches if match]
