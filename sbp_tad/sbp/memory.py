"""Bytes that autograd keeps for the backward pass: exact, the same on every device."""
from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn


class SavedMemory:
    """Count the bytes saved for backward inside a ``with`` block.

    Every tensor that autograd saves passes through saved-tensor hooks, custom
    Functions included. A storage counts once however many views of it are
    saved; parameters and buffers of ``module`` do not count, since they are
    there anyway.

    Example::

        with SavedMemory(model) as saved:
            loss = model(video).sum()
        print(saved.bytes)

    Args:
        module: whose parameters and buffers are left out.
    """

    def __init__(self, module: nn.Module) -> None:
        self._known = {tensor.untyped_storage().data_ptr()
                       for tensor in (*module.parameters(), *module.buffers())}
        self._storages: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    @property
    def bytes(self) -> int:
        """Bytes of all storages saved so far."""
        return sum(self._storages.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def __enter__(self) -> SavedMemory:
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, trace)
