"""LSTR written the slow way: one frame, one head and one key after the other.

Weights are a dict by name. Missing history is simply not there, and the score
of a frame is computed from the frames up to it alone.
"""
import math

import torch


def linear(weights, name, x):
    return weights[f'{name}.weight'] @ x + weights[f'{name}.bias']


def norm(weights, name, x):
    scaled = (x - x.mean()) / ((x - x.mean()).square().mean() + 1e-5).sqrt()
    return weights[f'{name}.weight'] * scaled + weights[f'{name}.bias']


def position(index, channels):
    angles = [index / 10000 ** (2 * i / channels) for i in range(channels // 2)]
    return torch.tensor([f(angle) for angle in angles for f in (math.sin, math.cos)],
                        dtype=torch.float64)


def attend(weights, name, num_heads, x, others):
    """Return the values that ``x`` (C,) reads from a list of others; zeros from none."""
    size = len(x) // num_heads
    read = torch.zeros_like(x)
    for head in range(num_heads if others else 0):
        part = slice(head * size, (head + 1) * size)
        query = linear(weights, f'{name}.query', x)[part]
        keys = [linear(weights, f'{name}.key', other)[part] for other in others]
        values = [linear(weights, f'{name}.value', other)[part] for other in others]
        powers = [math.exp(float(query @ key) / math.sqrt(size)) for key in keys]
        read[part] = sum(power * value for power, value in zip(powers, values)) / sum(powers)
    return linear(weights, f'{name}.out', read)


def decode(weights, name, num_heads, num_layers, tokens, history, causal):
    for layer in [f'{name}.layers.{i}' for i in range(num_layers)]:
        after = []
        for i, x in enumerate(tokens):
            seen = tokens[:i + 1] if causal else tokens
            x = norm(weights, f'{layer}.norms.0',
                     x + attend(weights, f'{layer}.self_attention', num_heads, x, seen))
            x = norm(weights, f'{layer}.norms.1',
                     x + attend(weights, f'{layer}.memory_attention', num_heads, x, history))
            hidden = linear(weights, f'{layer}.mlp.0', x).clamp(min=0)
            after.append(norm(weights, f'{layer}.norms.2',
                              x + linear(weights, f'{layer}.mlp.3', hidden)))
        tokens = after
    return [norm(weights, f'{name}.norm', x) for x in tokens]


def embed(weights, name, feature, index):
    token = linear(weights, f'{name}.0', feature).clamp(min=0)
    return token + position(index, len(token))


def lstr_logits(weights, num_heads, stage_layers, decoder_layers, history, working,
                origin, repeats_first):
    """Logits of the last of ``working``.

    ``history`` is a list of features, oldest first, None for a missing one;
    ``working`` a list of features up to the frame that is scored. The first
    one stands for a history without frames if ``repeats_first``, and is at
    position ``origin``.
    """
    if repeats_first and all(feature is None for feature in history):
        history = [*history[:-1], working[0]]
    tokens = [embed(weights, 'memory_projection', feature, origin + i - len(history))
              for i, feature in enumerate(history) if feature is not None]
    for i, num_layers in enumerate(stage_layers):
        tokens = decode(weights, f'stages.{i}', num_heads, num_layers,
                        list(weights[f'queries.{i}']), tokens, causal=False)
    window = [embed(weights, 'working_projection', feature, origin + i)
              for i, feature in enumerate(working)]
    decoded = decode(weights, 'decoder', num_heads, decoder_layers, window, tokens, causal=True)
    return linear(weights, 'classifier', decoded[-1])
