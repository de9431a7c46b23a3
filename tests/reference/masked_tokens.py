"""Token-level SBP written the slow way: plain autograd, gradients masked by hooks.

A block of the plain model computes as ever; the gradient that enters the end
of each residual branch is multiplied by the mask of the kept tokens.
"""
import itertools

import torch


def masked(x, mask, scale=1.0):
    """``x`` with its gradient times ``scale`` at True of ``mask``, zero elsewhere."""
    if not x.requires_grad:
        return x
    x = x * 1.0  # a tensor of its own: the hook is not to touch other uses
    x.register_hook(lambda gradient: (gradient * mask * scale).to(gradient.dtype))
    return x


def mask_branches(ends, masks):
    """Mask the input of the modules that end the branches, call by call. Returns handles.

    ``masks``: one (mask (B, ..., 1), scale) for each branch in the order of the forward.
    """
    queue = itertools.cycle(masks)

    def hook(_, inputs):
        mask, scale = next(queue)
        return masked(inputs[0], mask.reshape(*inputs[0].shape[:-1], 1), scale),

    return [end.register_forward_pre_hook(hook) for end in ends]


def mask_keys_and_values(linear, mask):
    """Mask the last two thirds of a packed projection (..., 3C); mask (..., 1). A handle."""
    def hook(_, __, packed):
        channels = packed.shape[-1] // 3
        queries, others = packed.split([channels, 2 * channels], -1)
        return torch.cat([queries, masked(others, mask.reshape(*packed.shape[:-1], 1))], -1)
    return linear.register_forward_hook(hook)


def explicit_attention(x, weight, bias, num_heads, scale, dropout, mask):
    """Attention of groups (W, L, C) among themselves up to the last linear layer.

    The gradient of k and v is masked by ``mask`` (W, L, 1).
    """
    packed = x @ weight.t() + (0 if bias is None else bias)
    queries, others = packed.split([x.shape[-1], 2 * x.shape[-1]], -1)
    packed = torch.cat([queries, masked(others, mask)], -1)
    q, k, v = packed.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)  # (W, h, L, d)
    weights = dropout((scale * q @ k.transpose(-2, -1)).softmax(-1))
    return (weights @ v).transpose(1, 2).flatten(2)


def mask_output(block, mask, channels_first=False):
    """Mask the output of a whole block, shortcut included; mask (B, N, 1). A handle."""
    def hook(_, __, out):
        shape = (len(out), 1, *out.shape[2:]) if channels_first else (*out.shape[:-1], 1)
        return masked(out, mask.reshape(shape))
    return block.register_forward_hook(hook)
