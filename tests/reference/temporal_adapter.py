"""A temporal adapter written the slow way: token by token, with loops along time."""
import torch
from torch.nn.functional import gelu


def adapt_slowly(tokens, down, depth, point, up, scale):
    """Tokens (T, P, C) of one run of steps at P places; each argument a pair (weight, bias)."""
    num_steps, num_places, _ = tokens.shape
    hidden = torch.stack([torch.stack([gelu(down[0] @ tokens[t, p] + down[1])
                                       for p in range(num_places)]) for t in range(num_steps)])
    taps = depth[0].shape[2]
    rows = []
    for t in range(num_steps):
        for p in range(num_places):
            total = depth[1].clone()
            for tap in range(taps):
                other = t + tap - taps // 2
                if 0 <= other < num_steps:
                    total = total + depth[0][:, 0, tap] * hidden[other, p]
            inside = hidden[t, p] + point[0][:, :, 0] @ total + point[1]
            rows.append(tokens[t, p] + scale * (up[0] @ inside + up[1]))
    return torch.stack(rows).view_as(tokens)
