"""Bytes that autograd keeps for the backward pass: exact, the same on every device."""
from __future__ import annotations

from collections import Counter
from types import TracebackType

import torch
from torch import Tensor, nn


class SavedMemory:
    """Measure the bytes held for backward inside a ``with`` block.

    Every tensor that autograd saves passes through saved-tensor hooks, custom
    Functions included. A storage counts once however many views of it are
    saved, from when it is saved until autograd lets go of it; parameters and
    buffers of ``module`` do not count, since they are there anyway.

    A block around forward and backward also sees what a backward saves that
    encodes again (deferred SBP, activation checkpointing).

    Example::

        with SavedMemory(model) as saved:
            loss = model(video).sum()
            loss.backward()
        print(saved.bytes)

    Args:
        module: whose parameters and buffers are left out.
    """

    def __init__(self, module: nn.Module) -> None:
        self._known = {tensor.untyped_storage().data_ptr()
                       for tensor in (*module.parameters(), *module.buffers())}
        self._holders: Counter[int] = Counter()  # by address of the storage
        self._held_bytes, self._peak_bytes = 0, 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: _Saved(self, tensor), lambda saved: saved.tensor)

    @property
    def bytes(self) -> int:
        """The most bytes that were held for backward at one time."""
        return self._peak_bytes

    def _hold(self, storage: torch.UntypedStorage) -> None:
        address = storage.data_ptr()
        if address in self._known:
            return
        self._holders[address] += 1
        if self._holders[address] == 1:
            self._held_bytes += storage.nbytes()
            self._peak_bytes = max(self._peak_bytes, self._held_bytes)

    def _release(self, storage: torch.UntypedStorage) -> None:
        address = storage.data_ptr()
        if address in self._known:
            return
        self._holders[address] -= 1
        if self._holders[address] == 0:
            self._held_bytes -= storage.nbytes()

    def __enter__(self) -> SavedMemory:
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, trace)


class _Saved:
    """What autograd keeps in the place of a tensor; its end is the end of the holding."""

    def __init__(self, memory: SavedMemory, tensor: Tensor) -> None:
        self.memory, self.tensor = memory, tensor
        memory._hold(tensor.untyped_storage())

    def __del__(self) -> None:
        self.memory._release(self.tensor.untyped_storage())
