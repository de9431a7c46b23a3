"""The GRU head written the slow way: its equations, one frame after the other."""
import torch


def gru_step(weights, layer, x, hidden):
    """Gates in the order reset, update, new (Cho et al., EMNLP 2014, as torch has them)."""
    given = weights[f'gru.weight_ih_l{layer}'] @ x + weights[f'gru.bias_ih_l{layer}']
    kept = weights[f'gru.weight_hh_l{layer}'] @ hidden + weights[f'gru.bias_hh_l{layer}']
    (r1, z1, n1), (r2, z2, n2) = given.chunk(3), kept.chunk(3)
    reset, update = torch.sigmoid(r1 + r2), torch.sigmoid(z1 + z2)
    return (1 - update) * torch.tanh(n1 + reset * n2) + update * hidden


def gru_logits(weights, num_layers, history, working):
    """Logits of the last of ``working``; a missing frame of ``history`` is None."""
    hidden = [torch.zeros_like(weights['gru.bias_hh_l0'].chunk(3)[0]) for _ in range(num_layers)]
    frames = [('memory_projection.0', x) for x in history if x is not None]
    frames += [('working_projection.0', x) for x in working]
    for name, x in frames:
        x = (weights[f'{name}.weight'] @ x + weights[f'{name}.bias']).clamp(min=0)
        for layer in range(num_layers):
            hidden[layer] = x = gru_step(weights, layer, x, hidden[layer])
    return weights['classifier.weight'] @ x + weights['classifier.bias']
