"""Sideways written the slow way: every frame's activations are there, every gradient walks alone.

The gradient of frame t leaves the head and passes module D - 1 with the
activation of frame t, module D - 2 with that of frame t + 1, and so on; beyond
the last frame it is the last frame's again.
"""
import torch


def sideways_gradients(modules, frames, from_head):
    """Features and pseudo-gradients of one sample.

    Args:
        modules: the lowest first.
        frames: (T, ...).
        from_head: gradient of each frame's feature, T rows as the last module gives them.

    Returns:
        Features (T, ...), a list of {name: gradient} a module, gradients of the frames.
    """
    inputs = [[frame[None]] for frame in frames]  # of each module, by frame
    for activations in inputs:
        for module in modules:
            activations.append(module(activations[-1]).detach())
    sums = [{name: torch.zeros_like(p) for name, p in module.named_parameters()}
            for module in modules]
    of_frames = []
    for time, gradient in enumerate(from_head):
        gradient = gradient[None]
        for below, place in enumerate(reversed(range(len(modules)))):
            met = inputs[min(time + below, len(frames) - 1)][place].clone().requires_grad_()
            named = dict(modules[place].named_parameters())
            gradient, *rest = torch.autograd.grad(modules[place](met), [met, *named.values()],
                                                  gradient)
            for name, part in zip(named, rest):
                sums[place][name] += part
        of_frames.append(gradient[0])
    features = torch.cat([activations[-1] for activations in inputs])
    return features, sums, torch.stack(of_frames)
