"""Construction of the network that SBPBackbone wraps, and folding of its batch normalization."""
from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
from mmaction.models.backbones import C2D, MobileNetV2, ResNet
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.models.common import Conv2plus1d
from mmcv.cnn.bricks import wrappers
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from sbp_tad.models.errors import ModelError
from sbp_tad.registry import MODELS
from sbp_tad.sbp import SBPError, fold_frozen_norm
from sbp_tad.sbp.frozen_norm import CONV_TYPES, DEFAULT_RULES, Pair, find_pairs
from sbp_tad.sbp.nested_tensors import Features

Run = Callable[[nn.Module, Tensor], Features]
# mmcv's own differ from torch's only for empty inputs.
PLAIN_CONV_TYPES = (*CONV_TYPES, wrappers.Conv2d, wrappers.Conv3d)
# Dimension of the channels in the output of image networks, by mmaction's names.
CHANNEL_DIMS = {'NC': 1, 'NLC': 2, 'NCHW': 1, 'NHWC': 3}
DEFAULT_LAYOUTS = {2: 'NC', 3: 'NLC', 4: 'NCHW'}


class Network(NamedTuple):
    """A backbone, whose parameter names checkpoints use, and the way to call it."""

    module: nn.Module
    run: Run
    takes_frames: bool  # (n * L, C, H, W) rather than clips (n, C, L, H, W)


def build_network(config: dict[str, Any]) -> Network:
    """Build a backbone by the rules of mmaction's recognizers.

    Args:
        config: ``type`` is a name of the registries, or ``timm.NAME``,
            ``torchvision.NAME``, ``mmpretrain.NAME`` or ``mmcls.NAME``; for
            the first two ``feature_shape`` (``'NCHW'``, ``'NHWC'``, ``'NLC'``)
            names the layout of the output where its rank is ambiguous.

    Raises:
        ModelError: the library cannot be imported.
        SBPError: an unknown ``feature_shape``.
    """
    library, name = split_type(config.get('type', ''))
    if library in IMAGE_LIBRARIES:
        options = {key: value for key, value in config.items() if key != 'type'}
        layout = options.pop('feature_shape', None)
        if layout is not None and layout not in CHANNEL_DIMS:
            raise SBPError(f'feature_shape must be one of {sorted(CHANNEL_DIMS)}, got {layout!r}.')
        network, entry = IMAGE_LIBRARIES[library](name, options)
        network.init_weights = do_nothing  # initialized, or pretrained, when built
        run = partial(run_image_network, entry=entry, layout=layout)
        return Network(network, run, takes_frames=True)
    of_images = library in ('mmpretrain', 'mmcls')
    if of_images:
        import_library(f'{library}.models')  # registers its backbones
    # Layers that mmcv builds inside look in the default scope, which only a Runner sets.
    with DefaultScope.overwrite_default_scope(MODELS.scope):
        network = MODELS.build(config)
    takes_frames = of_images or isinstance(network, (ResNet, MobileNetV2)) \
        or getattr(network, 'num_segments', None) is not None
    return Network(network, run_first if of_images else run_plain,
                   takes_frames and not isinstance(network, C2D))


def split_type(kind: Any) -> tuple[str, Any]:
    """Split a backbone's ``type``, a string or a function, into its library and the name there."""
    if isinstance(kind, str):
        library, _, name = kind.partition('.')
        return library, name
    return kind.__module__.partition('.')[0], kind


def import_library(name: str) -> ModuleType:
    """Import a library that only some backbones need.

    Raises:
        ModelError: the library is missing; the message says what to install.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        library = name.partition('.')[0]
        raise ModelError(
            f'the backbone needs {library}, which cannot be imported ({error}); install '
            f'{library} for this torch, or choose a backbone of mmaction.') from error


def build_timm(name: str, options: dict[str, Any]) -> tuple[nn.Module, str]:
    """Build a model of timm without its classifier."""
    create_model = import_library('timm').create_model
    return create_model(name, **{**options, 'num_classes': 0}), 'forward_features'


def build_torchvision(name: str | Callable, options: dict[str, Any]) -> tuple[nn.Module, str]:
    """Build a model of torchvision, given by name or function, without its classifier."""
    models = import_library('torchvision.models')
    network = (name if callable(name) else getattr(models, name))(**options)
    network.classifier, network.fc = nn.Identity(), nn.Identity()
    return network, 'features' if hasattr(network, 'features') else 'forward'


IMAGE_LIBRARIES = {'timm': build_timm, 'torchvision': build_torchvision}


def do_nothing() -> None:
    """Take the place of ``init_weights`` where weights must not be initialized again."""


def run_plain(network: nn.Module, inputs: Tensor) -> Features:
    """Return the network's own output."""
    return network(inputs)


def run_first(network: nn.Module, inputs: Tensor) -> Features:
    """Return the only item of the tuple that networks of mmpretrain return."""
    features = network(inputs)
    return features[0] if isinstance(features, tuple) and len(features) == 1 else features


def run_image_network(network: nn.Module, frames: Tensor, entry: str, layout: str | None) -> Tensor:
    """Encode frames to features (N, C, 1, 1), averaged over all but channels as in mmaction."""
    features = getattr(network, entry)(frames)
    channels = CHANNEL_DIMS[layout or DEFAULT_LAYOUTS[features.ndim]]
    features = features.movedim(channels, 1)  # (N, C, ...)
    return features.reshape(*features.shape[:2], -1).mean(2)[:, :, None, None]


def compound_pairs(module: nn.Module) -> Iterator[Pair]:
    """Find normalization after a convolution within another module: TSM's shift, (2+1)D."""
    if isinstance(module, Conv2plus1d):
        yield Pair('conv_s', 'bn_s')
    last = {TemporalShift: 'conv.net', Conv2plus1d: 'conv.conv_t'}
    inner, norm = last.get(type(module._modules.get('conv'))), getattr(module, 'norm_name', None)
    if inner is not None and norm in module._modules:
        yield Pair(inner, norm)


FOLD_RULES = (*DEFAULT_RULES, compound_pairs)


def fold_network(network: nn.Module) -> int:
    """Fold the frozen batch normalization of a network, if any; return the number of pairs."""
    if not find_pairs(network, FOLD_RULES, PLAIN_CONV_TYPES):
        return 0
    return fold_frozen_norm(network, FOLD_RULES, PLAIN_CONV_TYPES)
