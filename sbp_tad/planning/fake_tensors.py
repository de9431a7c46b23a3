"""Networks that have shapes but no numbers, and the memory that their steps would take.

Fake tensors know the shape, dtype and device of an operation's result and
compute nothing, so a step of any size takes no memory. Here they are mixed
with real tensors: those that determine shapes (sampling, masks) stay real and
are small.
"""
from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sbp_tad.sbp.deferred import restored_random_state

# Functions with which layers create parameters. Not `linspace`, `arange` or `tensor`: constructors
# read their numbers (the rates of drop path, indices).
PARAMETER_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand})
NUMBERS = FakeTensorMode(allow_non_fake_inputs=True)


class ShapesOnly(TorchFunctionMode):
    """Create parameters without numbers, which take no memory, within the block."""

    def __torch_function__(self, function: Callable, types: Iterable[type],
                           args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call the function; one that creates parameters gives fake tensors."""
        if function in PARAMETER_FACTORIES:
            with NUMBERS:
                return function(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def build_shapes(build: Callable[[], nn.Module], device: str = 'cpu') -> nn.Module:
    """Build a module without the memory of its weights; the random state does not change."""
    with restored_random_state(torch.device('cpu')):
        with ShapesOnly():
            module = build()
        return shape_twin(module, device)


def shape_twin(module: nn.Module, device: str | None = None) -> nn.Module:
    """Copy ``module`` with fake parameters and buffers.

    Args:
        module: real, fake, or partly fake.
        device: of the copy; None: the device of each tensor.
    """
    twins = {id(tensor): _fake_like(tensor, device)
             for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, twins)


def _fake_like(tensor: Tensor, device: str | None) -> Tensor:
    fake = empty_shape(tensor.shape, tensor.dtype, device or tensor.device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, tensor.requires_grad)
    return fake


def empty_shape(shape: Iterable[int], dtype: torch.dtype = torch.float32,
                device: str | torch.device = 'cpu') -> FakeTensor:
    """Create a tensor of a shape without memory."""
    with NUMBERS:
        return torch.empty(tuple(shape), dtype=dtype, device=device)


class LiveMemory(TorchDispatchMode):
    """Count the bytes of all storages that are created within the block and still alive.

    Args:
        module: the final gradients of its parameters do not count.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self._events: list[tuple[int, int]] = []  # number of a storage, bytes allocated or freed
        self._numbers: dict[int, int] = {}  # address -> number, of those alive

    def __torch_dispatch__(self, function: Callable, types: Iterable[type],
                           args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call the function and note the storages of its result."""
        known = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor.untyped_storage(), known)
        return result

    def _note(self, storage: torch.UntypedStorage, known: set[int]) -> None:
        if storage._cdata in self._numbers or storage._cdata in known:
            return
        number, size = len(self._events), storage.nbytes()
        self._numbers[storage._cdata] = number
        self._events.append((number, size))
        weakref.finalize(storage, self._forget, storage._cdata, number, size)

    def _forget(self, address: int, number: int, size: int) -> None:
        self._events.append((number, -size))
        if self._numbers.get(address) == number:
            del self._numbers[address]

    @property
    def peak_bytes(self) -> int:
        """Peak of the live bytes."""
        gradients = {self._numbers.get(parameter.grad.untyped_storage()._cdata)
                     for parameter in self.module.parameters() if parameter.grad is not None}
        held = peak = 0
        for number, change in self._events:
            if number not in gradients:
                held += change
                peak = max(peak, held)
        return peak


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
