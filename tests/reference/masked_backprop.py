"""Stochastic backpropagation written the slow way: plain autograd over every clip.

All clips are encoded with grad; the gradient that reaches the features is
masked and scaled by hand before it goes on into the encoder.
"""
import torch


def masked_gradients(encoder, loss_of_features, clips, kept, scale):
    """Features (N, ...) and {name: gradient} when only ``kept`` (N,) bool clips backpropagate."""
    features = encoder(clips)
    leaf = features.detach().requires_grad_()
    (from_head, ) = torch.autograd.grad(loss_of_features(leaf), leaf)
    mask = kept.to(from_head.dtype).reshape(-1, *[1] * (from_head.ndim - 1))
    named = [(name, p) for name, p in encoder.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(features, [p for _, p in named], from_head * mask * scale,
                                    allow_unused=True)
    return features.detach(), {name: g for (name, _), g in zip(named, gradients)}
