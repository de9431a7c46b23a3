"""Exact count of the bytes that autograd saves for the backward pass, on any device."""
from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sbp_tad.sbp.inner_layers import only_observes


class _Held:
    """Saved tensor that tells the meter when autograd releases it."""

    __slots__ = ('tensor', 'key', 'meter')

    def __init__(self, tensor: Tensor, key: int, meter: SavedMemory) -> None:
        self.tensor, self.key, self.meter = tensor, key, meter

    def __del__(self) -> None:
        self.meter._release(self.key)


class SavedMemory:
    """Count the bytes saved for backward inside a ``with`` block.

    Every tensor that autograd saves passes through saved-tensor hooks, also in
    custom Functions (attributes of ``ctx`` are not counted). A storage counts
    once, even if several views of it are saved, and only while it is held.
    Parameters and buffers of ``module`` do not count, because they exist
    anyway.

    Example::

        with SavedMemory(model, per_module=True) as saved:
            loss = model(video).sum()
        print(saved.bytes, saved.by_module())

    A storage is identified by reference until its last saved tensor is
    released. An address that is freed and reused is another storage.

    Args:
        module: its parameters and buffers are not counted.
        per_module: also count for each submodule; registers hooks on each.
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
        """Peak of the bytes held inside the block."""
        return self._peak

    @property
    def held_bytes(self) -> int:
        """Bytes saved inside the block and still held."""
        return self._held

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """Return the peak of the bytes that each module held, by its qualified name.

        A storage belongs to the innermost module whose forward saved it
        first. ``''`` is the measured module itself and everything outside it.

        Args:
            depth: number of name levels to report; deeper modules are added
                to their ancestors. None reports every module.
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
        enter = only_observes(lambda *_: self._names.append(name))
        leave = only_observes(lambda *_: void(self._names.pop()))
        return [module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave, always_call=True)]

    def __enter__(self) -> SavedMemory:
        # By storage, not by data pointer: empty tensors share one pointer.
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
    """Return the saved tensor."""
    return held.tensor if isinstance(held, _Held) else held


def void(_: Any) -> None:
    """Return None: another return value of a hook would replace the module's output."""
