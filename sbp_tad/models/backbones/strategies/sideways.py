"""Sideways: a frame's gradient is backpropagated through the activations of newer frames.

Shapes: B samples of T frames, D modules in depth.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sbp_tad.registry  # noqa: F401, cures what the imports below need

# isort: split
import torch
from mmaction.models.backbones import ResNet
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbp_tad.models.backbones.clip_features import pool_space
from sbp_tad.models.backbones.clip_layout import ClipLayout
from sbp_tad.models.backbones.frame_cnn import FrameCNN
from sbp_tad.models.backbones.strategies.base import Keys, Strategy
from sbp_tad.sbp import SBPError, check_batch_norm
from sbp_tad.sbp.deferred import replaced_parameters, same_autocast
from sbp_tad.sbp.nested_tensors import Encoder, Features, encode_in_chunks

SplitRule = Callable[[Any], 'list[nn.Module]']
SPLIT_RULES: dict[type, SplitRule] = {}


def split_rule(kind: type) -> Callable[[SplitRule], SplitRule]:
    """Register the rule that splits networks of exactly this type in depth.

    The rule returns modules that, applied one after the other, compute the
    network's output for frames (n, 3, H, W). They treat each frame on its own
    and use no random numbers.
    """
    def register(rule: SplitRule) -> SplitRule:
        SPLIT_RULES[kind] = rule
        return rule
    return register


@split_rule(FrameCNN)
def split_frame_cnn(network: FrameCNN) -> list[nn.Module]:
    """Split into one module per convolution."""
    *layers, last = network.layers
    return [*layers, nn.Sequential(last, nn.Flatten()) if network.keep_places else last]


@split_rule(ResNet)
def split_resnet(network: ResNet) -> list[nn.Module]:
    """Split into the stem and each stage up to the one that is returned.

    Raises:
        SBPError: the network returns several stages.
    """
    if len(network.out_indices) != 1:
        raise SBPError("mode 'sideways' backpropagates one gradient from the last module, but "
                       f'the ResNet returns the stages {tuple(network.out_indices)}; choose one '
                       'by out_indices.')
    stages = network.res_layers[:network.out_indices[0] + 1]
    return [nn.Sequential(network.conv1, network.maxpool),
            *(getattr(network, name) for name in stages)]


def split_network(network: nn.Module) -> list[nn.Module]:
    """Split a network in depth into modules, the lowest first.

    Raises:
        SBPError: no rule is registered for its type.
    """
    rule = SPLIT_RULES.get(type(network))
    if rule is None:
        known = ', '.join(sorted(kind.__name__ for kind in SPLIT_RULES))
        raise SBPError(
            f"mode 'sideways' cannot split {type(network).__name__} into modules, it knows {known}"
            '; register a rule with sbp_tad.models.backbones.strategies.sideways.split_rule, '
            'which gives modules of single frames one after the other, or choose another mode.')
    return rule(network)


class PooledModule(nn.Module):
    """The last module followed by the mean over space: maps (n, C, h, w) to (n, C', 1)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, maps: Tensor) -> Tensor:
        """Encode n frames as SBPBackbone does."""
        return pool_space(self.module(maps), len(maps))


class Sweep:
    """The sideways backward pass over the frames of a batch.

    At time step s all modules hold the activations of frame s, the newest.
    After the last frame its activations stay until all gradients have arrived.

    Args:
        network: has the parameters of the modules.
        modules: the lowest first; the last one gives the features.
        steps_at_once: time steps whose activations are held together. It
            changes memory and speed, not the result.
    """

    def __init__(self, network: nn.Module, modules: Sequence[nn.Module], steps_at_once: int
                 ) -> None:
        self.network, self.modules, self.steps_at_once = network, modules, steps_at_once

    def gradients(self, frames: Tensor, from_head: Tensor, parameters: Sequence[Tensor],
                  frames_need_gradient: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """Compute the pseudo-gradients of the frames and of ``parameters``.

        Args:
            frames: (B, T, ...).
            from_head: gradient of the features (B, T, ...).
            parameters: of the network. Their gradients are summed in twins, so
                that hooks on the parameters run once, on the sum.
            frames_need_gradient: compute the gradient of the frames too.
        """
        num_frames, delay = frames.shape[1], len(self.modules) - 1
        twins = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in parameters}
        self.on_the_way: list[Tensor | None] = [None] * delay
        of_frames = []
        with replaced_parameters(self.network, twins), torch.enable_grad():
            for steps in torch.arange(num_frames + delay).split(self.steps_at_once):
                newest = frames[:, steps.clamp(max=num_frames - 1)].detach()
                left = from_head[:, steps[0]:steps[-1] + 1]
                late = left.new_zeros(len(left), len(steps) - left.shape[1], *left.shape[2:])
                of_frames.append(self.pull_back(newest.requires_grad_(frames_need_gradient),
                                                torch.cat([left, late], dim=1)))
        of_frames = torch.cat(of_frames, dim=1)[:, delay:] if frames_need_gradient else None
        return of_frames, [twins[id(p)].grad for p in parameters]

    def pull_back(self, frames: Tensor, gradient: Tensor) -> Tensor | None:
        """Run a few time steps: each module passes on the gradient it received a step before.

        Gradients of parameters are added to ``.grad``.

        Args:
            frames: (B, S, ...), the newest frame of each step.
            gradient: of the features (B, S, ...).

        Returns:
            The gradients that leave the lowest module at these steps, of older
            frames (B, S, ...); None where nothing is trained below.
        """
        leaves, outputs = [], []  # of the modules; the graph is cut between them
        x = frames.flatten(0, 1)
        with self.context():
            for module in self.modules:
                leaves.append(x.detach().requires_grad_(x.requires_grad))
                x = module(leaves[-1])
                outputs.append(x)
        for leaf in reversed(leaves):
            y = outputs.pop()
            if y.requires_grad:
                torch.autograd.backward(y, gradient.flatten(0, 1))
            if leaf.grad is None:  # nothing to train below
                return None
            of_inputs = leaf.grad.unflatten(0, frames.shape[:2])
            if outputs:
                gradient = self.hand_down(of_inputs, to=len(outputs) - 1)
        return of_inputs

    def hand_down(self, of_inputs: Tensor, to: int) -> Tensor:
        """Delay a module's gradients (B, S, ...) by a step, for the module below."""
        before = self.on_the_way[to]
        before = torch.zeros_like(of_inputs[:, :1]) if before is None else before
        self.on_the_way[to] = of_inputs[:, -1:].clone()
        return torch.cat([before, of_inputs[:, :-1]], dim=1)

    def encode(self, encoder: Encoder, clips: Tensor, clips_at_once: int) -> Features:
        """Encode all clips (B * T, ...) without gradient, and note the current autocast."""
        self.context = same_autocast(clips.device)
        with torch.no_grad():
            features = encode_in_chunks(encoder, clips, clips_at_once)
        # A weight cast inside no_grad would cut the gradient of whoever shares it.
        torch.clear_autocast_cache()
        return features


class _EncodeSideways(torch.autograd.Function):
    """Attach the sideways gradient to features that were computed without gradient.

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
    """Backpropagate all frames, each through the activations of newer frames.

    Malinowski, Swirszcz, Carreira and Patraucean, "Sideways: Depth-Parallel
    Training of Video Models", CVPR 2020. Activations are overwritten as new
    frames arrive. A gradient descends one module per time step. At the i-th
    module below the last it meets the activations of the frame i steps later
    and becomes a pseudo-gradient. It is a good approximation in smooth videos,
    and exact in still ones. The authors show that convolutional video networks
    trained in this way converge, and can generalize better than with
    backpropagation.

    Saves all activations but those of ``steps_at_once`` frames per sample.
    Costs a second forward of every frame, and the error of the pseudo-gradient.

    Two things differ from the paper. First, the forward is not pipelined: in a
    time step all modules see the same frame, so that training and evaluation
    give the same features. Second, the gradient comes after the last frame,
    since the loss of a temporal detector needs the features of all frames. So
    frames are encoded twice: first all without gradient, then one by one when
    the gradient of the features is known. At the end the last frame repeats
    until all gradients have arrived. Nothing runs in parallel, which is the
    paper's other aim.

    The network works frame by frame (``clip_len=1``), without batch
    statistics, and a rule splits it into modules, see :func:`split_rule`.

    Args:
        keep_ratio: ignored.
        clips_at_once: frames in one pass without gradient.
        steps_at_once: time steps of the backward in one pass. More steps take
            the activations of more frames, in fewer and larger passes, with
            the same result.

    Raises:
        SBPError: ``steps_at_once`` is no positive whole number.
    """

    mode: ClassVar[str] = 'sideways'
    has_keep_ratio: ClassVar[bool] = False

    def __init__(self, keep_ratio: float = 0.25, clips_at_once: int | None = None,
                 steps_at_once: int = 1) -> None:
        super().__init__(keep_ratio, clips_at_once)
        if isinstance(steps_at_once, bool) or not isinstance(steps_at_once, int) \
                or steps_at_once < 1:
            raise SBPError('steps_at_once must be a whole number of at least 1, '
                           f'got {steps_at_once!r}.')
        self.steps_at_once = steps_at_once

    def attach(self, network: nn.Module, layout: ClipLayout) -> None:
        """Check that the network can be split and takes single frames.

        Raises:
            SBPError: it cannot; the message says what to set.
        """
        split_network(network)
        if (layout.clip_len, layout.context_frames, layout.input_format) != (1, 0, 'NCHW'):
            raise SBPError(
                "mode 'sideways' encodes frame by frame: expected clip_len=1, context_frames=0 and "
                f"input_format='NCHW', got clip_len={layout.clip_len}, "
                f'context_frames={layout.context_frames} and input_format={layout.input_format!r}.')
        self.network = network

    def encode(self, encoder: Encoder, clips: Tensor, keys: Keys) -> Features:
        """Encode all clips without gradient and attach the sideways gradient."""
        check_batch_norm(self.network)
        *modules, last = split_network(self.network)
        sweep = Sweep(self.network, [*modules, PooledModule(last)], self.steps_at_once)
        features = sweep.encode(encoder, clips, self.clips_without_grad)
        frames = clips.squeeze(2).unflatten(0, (len(keys), -1))  # (B, T, C, H, W)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        return _EncodeSideways.apply(sweep, features, frames, *parameters)
