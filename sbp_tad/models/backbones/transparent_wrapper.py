"""Base class of a module whose parameters have the names that they have in a wrapped network."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.model import BaseModule
from torch import nn

# torch's FSDP and distributed checkpoints remove this name from paths, as torch's own
# ActivationWrapper does.
NETWORK = '_checkpoint_wrapped_module'
# Name of the network in paths of earlier releases.
OLD_NETWORK = 'backbone'


def network_members(network: nn.Module) -> set[str]:
    """Return the names of the submodules, parameters and buffers directly in a network."""
    return {*network._modules, *network._parameters, *network._buffers}


class TransparentWrapper(BaseModule):
    """Wrapper whose parameters, buffers and state dict have the names of the wrapped network.

    ``named_parameters``, ``named_buffers`` and ``state_dict`` agree, also in a
    module that contains the wrapper. Their names are paths:
    ``torch.func.functional_call`` and ``get_parameter`` find what they name.
    The network is ``backbone``, unless the network has a member of that name.

    Args:
        network: the wrapped network.
        init_cfg: see :class:`mmengine.model.BaseModule`.
    """

    def __init__(self, network: nn.Module, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.add_module(NETWORK, network)
        self._register_state_dict_hook(remove_network_name)
        self.register_load_state_dict_post_hook(clean_incompatible_keys)

    @property
    def wrapped_network(self) -> nn.Module:
        """The wrapped network."""
        return self._modules[NETWORK]

    def __getattr__(self, name: str) -> Any:
        """Find members of the network, so that the names of parameters are paths."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            network = self.__dict__.get('_modules', {}).get(NETWORK)
            if network is not None and name in network_members(network):
                return getattr(network, name)
            if network is not None and name == OLD_NETWORK:
                return network
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a tensor of the network in the network, as ``torch.func.functional_call`` does."""
        network = self.__dict__.get('_modules', {}).get(NETWORK)
        for tensors in () if network is None else (network._parameters, network._buffers):
            if name in tensors:
                tensors[name] = value
                return
        super().__setattr__(name, value)

    def named_modules(self, memo: set[nn.Module] | None = None, prefix: str = '',
                      remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Module]]:
        """Yield the wrapper and, under the same name, the network; then the rest of the network."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            path = prefix if name == NETWORK else f'{prefix}.{name}'.lstrip('.')
            if module is not None:
                yield from module.named_modules(memo, path, remove_duplicate)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Give the keys of the network, which have no name of it, the path of the network."""
        old = f'{OLD_NETWORK}.'
        has_old_member = OLD_NETWORK in network_members(self.wrapped_network)
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key[len(prefix):].removeprefix(f'{NETWORK}.')
            if not has_old_member:
                name = name.removeprefix(old)
            state_dict[f'{prefix}{NETWORK}.{name}'] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def remove_network_name(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any
                        ) -> None:
    """Remove the name of the wrapped network from keys and versions; a state dict hook."""
    inner = f'{prefix}{NETWORK}.'
    for key in [key for key in state_dict if key.startswith(inner)]:
        state_dict[prefix + key[len(inner):]] = state_dict.pop(key)
    versions = getattr(state_dict, '_metadata', {})
    for key in [key for key in versions if f'{key}.'.startswith(inner)]:
        versions[(prefix + f'{key}.'[len(inner):]).rstrip('.')] = versions.pop(key)


def clean_incompatible_keys(module: nn.Module, keys: Any) -> None:
    """Remove the name of the wrapped network from missing and unexpected keys."""
    for names in (keys.missing_keys, keys.unexpected_keys):
        names[:] = [name.replace(f'{NETWORK}.', '') for name in names]
