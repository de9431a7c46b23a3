"""Bytes that autograd keeps for the backward pass: exact, the same on every device."""
from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class _Held:
    """One saved tensor; tells the meter when autograd lets go of it."""

    __slots__ = ('tensor', 'key', 'meter')

    def __init__(self, tensor: Tensor, key: int, meter: SavedMemory) -> None:
        self.tensor, self.key, self.meter = tensor, key, meter

    def __del__(self) -> None:
        self.meter._release(self.key)


class SavedMemory:
    """Count the bytes saved for backward inside a ``with`` block.

    Every tensor that autograd saves passes through saved-tensor hooks, custom
    Functions included (what a Function hangs on ``ctx`` itself is not seen). A
    storage counts once however many views of it are saved, and only while it
    is held; parameters and buffers of ``module`` do not count, since they are
    there anyway.

    Example::

        with SavedMemory(model, per_module=True) as saved:
            loss = model(video).sum()
        print(saved.bytes, saved.by_module())

    Storages are counted by reference and forgotten with the last tensor that
    is saved of them: an address freed and used again is another storage.

    Args:
        module: whose parameters and buffers are left out.
        per_module: also count for each submodule, which takes a hook on each.
    """

    def __init__(self, module: nn.Module, per_module: bool = False) -> None:
        self.module = module
        self.per_module = per_module
        self._known: set[int] = set()
        # storage -> [bytes, name of the module, times saved]
        self._saved: dict[int, list[Any]] = {}
        self._names: list[str] = []
        self._now: dict[str, int] = defaultdict(int)
        self._peaks: dict[str, int] = defaultdict(int)
        self._held = self._peak = 0

    @property
    def bytes(self) -> int:
        """The most bytes held at one time inside the block."""
        return self._peak

    @property
    def held_bytes(self) -> int:
        """Bytes saved inside the block and held now."""
        return self._held

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """The most bytes that each module held at one time, by its qualified name.

        A storage belongs to the innermost module whose forward saved it
        first; ``''`` is the measured module itself and all outside of it.

        Args:
            depth: sum the modules below so many levels of names; None lists
                each on its own.
        """
        sums: dict[str, int] = defaultdict(int)
        for name, peak in self._peaks.items():
            parts = name.split('.') if name else []
            sums['.'.join(parts[:depth])] += peak
        return dict(sums)

    def _pack(self, tensor: Tensor) -> _Held | Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return tensor
        if key not in self._saved:
            name = self._names[-1] if self._names else ''
            self._saved[key] = [storage.nbytes(), name, 0]
            self._count(name, storage.nbytes())
        self._saved[key][2] += 1
        return _Held(tensor, key, self)

    def _release(self, key: int) -> None:
        entry = self._saved[key]
        entry[2] -= 1
        if entry[2] == 0:
            del self._saved[key]
            self._count(entry[1], -entry[0])

    def _count(self, name: str, change: int) -> None:
        self._held += change
        self._now[name] += change
        self._peak = max(self._peak, self._held)
        self._peaks[name] = max(self._peaks[name], self._now[name])

    def _watch(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        return [module.register_forward_pre_hook(lambda *_: self._names.append(name)),
                module.register_forward_hook(lambda *_: void(self._names.pop()),
                                             always_call=True)]

    def __enter__(self) -> SavedMemory:
        # By storage, not by data pointer: those of empty tensors are equal.
        self._known = {tensor.untyped_storage()._cdata
                       for tensor in (*self.module.parameters(), *self.module.buffers())}
        self._exit = ExitStack()
        if self.per_module:
            for name, module in self.module.named_modules():
                for handle in self._watch(name, module):
                    self._exit.callback(handle.remove)
        self._exit.enter_context(
            torch.autograd.graph.saved_tensors_hooks(self._pack, unpack))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._exit.close()


def unpack(held: _Held | Tensor) -> Tensor:
    """The tensor that was saved."""
    return held.tensor if isinstance(held, _Held) else held


def void(_: Any) -> None:
    """Nothing: what a hook returns would replace the module's output."""
