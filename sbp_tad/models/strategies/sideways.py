"""Sideways: the gradient of a frame goes down through the activations of newer frames.

Shapes: B samples of T frames, D modules in depth.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import ResNet
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbp_tad.models.clip_features import pool_space
from sbp_tad.models.frame_cnn import FrameCNN
from sbp_tad.models.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPError, check_batch_norm
from sbp_tad.sbp.deferred import replaced_parameters, same_autocast
from sbp_tad.sbp.trees import Encoder, Features, encode_in_chunks

if TYPE_CHECKING:
    from sbp_tad.models.sbp_backbone import SBPBackbone

SplitRule = Callable[[Any], 'list[nn.Module]']
SPLIT_RULES: dict[type, SplitRule] = {}


def split_rule(kind: type) -> Callable[[SplitRule], SplitRule]:
    """Register how networks of exactly this type are split in depth.

    The rule gives modules that, one after the other, compute what the network
    does for frames (n, 3, H, W), each frame on its own and without random numbers.
    """
    def register(rule: SplitRule) -> SplitRule:
        SPLIT_RULES[kind] = rule
        return rule
    return register


@split_rule(FrameCNN)
def split_frame_cnn(network: FrameCNN) -> list[nn.Module]:
    """A module a convolution."""
    *layers, last = network.layers
    return [*layers, nn.Sequential(last, nn.Flatten()) if network.keep_places else last]


@split_rule(ResNet)
def split_resnet(network: ResNet) -> list[nn.Module]:
    """The stem and each stage up to the one that is returned.

    Raises:
        SBPError: several stages are returned.
    """
    if len(network.out_indices) != 1:
        raise SBPError("mode 'sideways' hands a single gradient down from the last module, but "
                       f'the ResNet returns the stages {tuple(network.out_indices)}; choose one '
                       'by out_indices.')
    stages = network.res_layers[:network.out_indices[0] + 1]
    return [nn.Sequential(network.conv1, network.maxpool),
            *(getattr(network, name) for name in stages)]


def split_network(network: nn.Module) -> list[nn.Module]:
    """The modules of a network in depth, the lowest first.

    Raises:
        SBPError: no rule is registered for its type.
    """
    rule = SPLIT_RULES.get(type(network))
    if rule is None:
        known = ', '.join(sorted(kind.__name__ for kind in SPLIT_RULES))
        raise SBPError(
            f"mode 'sideways' cannot split {type(network).__name__} into modules, it knows {known}"
            '; register a rule with sbp_tad.models.strategies.sideways.split_rule, which gives '
            'modules of single frames one after the other, or choose another mode.')
    return rule(network)


class PooledModule(nn.Module):
    """The last module and the mean over space: frames' maps (n, C, h, w) to (n, C', 1)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, maps: Tensor) -> Tensor:
        """Features of n frames, as SBPBackbone gives them."""
        return pool_space(self.module(maps), len(maps))


class Sweep:
    """The sideways backward pass over the frames of a batch.

    Args:
        network: holds the parameters behind the modules.
        modules: the lowest first; the last one gives the features.
    """

    def __init__(self, network: nn.Module, modules: Sequence[nn.Module]) -> None:
        self.network, self.modules = network, modules

    def gradients(self, frames: Tensor, from_head: Tensor, parameters: Sequence[Tensor],
                  frames_need_gradient: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """Pseudo-gradients of the frames and of ``parameters``.

        Args:
            frames: (B, T, ...).
            from_head: of the features (B, T, ...).
            parameters: of the network; theirs gather in twins, so that hooks
                on them run once, when autograd hands the sum on.
            frames_need_gradient: whether the lowest module passes its own on.
        """
        num_frames, depth = frames.shape[1], len(self.modules)
        of_frames = torch.zeros_like(frames) if frames_need_gradient else None
        twins = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in parameters}
        handed_down: list[Tensor | None] = [None] * depth  # to each module's output
        with replaced_parameters(self.network, twins):
            for step in range(num_frames + depth - 1):
                if step < num_frames:
                    handed_down[-1] = from_head[:, step]
                # Past the end the last frame stays, for the gradients still on their way.
                newest = frames[:, min(step, num_frames - 1)]
                with self.context():
                    of_inputs = self.pull_back(newest, handed_down, frames_need_gradient)
                if of_inputs[0] is not None:
                    of_frames[:, step - depth + 1] = of_inputs[0]
                handed_down = [*of_inputs[1:], None]
        return of_frames, [twins[id(p)].grad for p in parameters]

    def pull_back(self, frame: Tensor, handed_down: Sequence[Tensor | None],
                  frame_needs_gradient: bool) -> list[Tensor | None]:
        """One time step: every module that was handed a gradient passes it through itself.

        Args:
            frame: (B, ...), the newest.
            handed_down: to the output of each module at the step before.
            frame_needs_gradient: as in :meth:`gradients`.

        Returns:
            Gradients of the inputs of the modules; those of their parameters
            are added to ``.grad``. The activations of a module are let go
            before those of the next are computed.
        """
        of_inputs: list[Tensor | None] = [None] * len(self.modules)
        highest = max((i for i, grad in enumerate(handed_down) if grad is not None), default=-1)
        x, needed = frame.detach(), frame_needs_gradient  # whether x is to have a gradient
        for i, module in enumerate(self.modules[:highest + 1]):
            with torch.set_grad_enabled(handed_down[i] is not None):
                leaf = x.requires_grad_(needed and handed_down[i] is not None)
                y = module(leaf)
            if y.requires_grad:
                torch.autograd.backward(y, handed_down[i])
            of_inputs[i], x = leaf.grad, y.detach()
            needed = needed or any(p.requires_grad for p in module.parameters())
        return of_inputs

    def encode(self, encoder: Encoder, clips: Tensor, clips_at_once: int) -> Features:
        """Features of all clips (B * T, ...), without gradient; notes the autocast of now."""
        self.context = same_autocast(clips.device)
        with torch.no_grad():
            features = encode_in_chunks(encoder, clips, clips_at_once)
        # A weight cast inside no_grad would cut the gradient of whoever shares it.
        torch.clear_autocast_cache()
        return features


class _EncodeSideways(torch.autograd.Function):
    """Attach the sideways gradient to features computed without one.

    Forward: ``y = features``. Backward: :meth:`Sweep.gradients` of dL/dy.
    Saved: frames and parameters.
    """

    @staticmethod
    def forward(ctx: Any, sweep: Sweep, features: Tensor, frames: Tensor, *parameters: Tensor
                ) -> Tensor:
        ctx.sweep = sweep
        ctx.save_for_backward(frames, *parameters)
        return features.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_head: Tensor) -> tuple[Tensor | None, ...]:
        frames, *parameters = ctx.saved_tensors
        from_head = from_head.unflatten(0, frames.shape[:2])
        of_frames, of_parameters = ctx.sweep.gradients(frames, from_head, parameters,
                                                       ctx.needs_input_grad[2])
        return None, None, of_frames, *of_parameters


class SidewaysStrategy(Strategy):
    """All frames are backpropagated, each through the activations of newer ones.

    Malinowski, Swirszcz, Carreira and Patraucean, "Sideways: Depth-Parallel
    Training of Video Models", CVPR 2020: activations are overwritten as new
    frames arrive. A gradient goes down one module a time step, so at the
    module i below the last it meets the activations of the frame i steps
    later and becomes a pseudo-gradient, good as far as a video is smooth and
    exact where it stands still. The authors show that such training of
    convolutional video networks converges and can generalize better than
    backpropagation.

    Two things differ from the paper. The network's forward is not pipelined:
    in a time step all modules see the same frame, as features of one frame
    must not be a mixture where evaluation gives none. And the gradient comes
    after the last frame, not with each: a temporal detector's loss of any
    frame needs the features of all. So frames are encoded twice, first all
    without gradient, then one by one, when the loss gradient of the
    features is known; at the end the last frame is repeated until all
    gradients have left. Nothing runs in parallel, which is the paper's other
    aim. Memory is that of one module's activations of one frame a sample.

    The network works frame by frame (``clip_len=1``), without batch
    statistics, and a rule splits it into modules, see :func:`split_rule`.

    Args:
        keep_ratio: ignored.
        clips_at_once: frames in one pass without gradient.
    """

    mode: ClassVar[str] = 'sideways'
    has_keep_ratio: ClassVar[bool] = False

    def attach(self, owner: SBPBackbone) -> None:
        """Check that the network can be split and takes single frames.

        Raises:
            SBPError: with what to set.
        """
        split_network(owner.backbone)
        if (owner.clip_len, owner.context_frames, owner.input_format) != (1, 0, 'NCHW'):
            raise SBPError(
                "mode 'sideways' encodes frame by frame: expected clip_len=1, context_frames=0 and "
                f"input_format='NCHW', got clip_len={owner.clip_len}, "
                f'context_frames={owner.context_frames} and input_format={owner.input_format!r}.')
        self.network = owner.backbone

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        check_batch_norm(self.network)
        *modules, last = split_network(self.network)
        sweep = Sweep(self.network, [*modules, PooledModule(last)])
        features = sweep.encode(encoder, clips, self.clips_without_grad)
        frames = clips.squeeze(2).unflatten(0, (len(keys), -1))  # (B, T, C, H, W)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        return _EncodeSideways.apply(sweep, features, frames, *parameters)
