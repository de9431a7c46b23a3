"""Training with a feature bank written the slow way: clip by clip, step by step, in dicts.

A bank maps (video, step) to a vector; the steps of a video are counted from its start.
"""
import torch


def encode_with_bank(encoder, clips, kept, first_steps, bank):
    """Features (N, C', t) of N clips, those of the dropped ones as ``bank`` remembers them.

    ``first_steps``: N pairs (video, step) where each clip begins. The bank, a dict, is changed.
    """
    found = {i: encoder(clips[i:i + 1])[0] for i in range(len(clips)) if kept[i]}
    num_steps = next(iter(found.values())).shape[1]
    steps = [[(video, first + j) for j in range(num_steps)] for video, first in first_steps]
    unknown = [i for i in range(len(clips))
               if not kept[i] and not all(step in bank for step in steps[i])]
    for i in unknown:
        store(bank, steps[i], encoder(clips[i:i + 1])[0])
    for i in range(len(clips)):
        if not kept[i]:
            found[i] = torch.stack([bank[step] for step in steps[i]], 1)
    for i in range(len(clips)):
        if kept[i]:
            store(bank, steps[i], found[i])
    return torch.stack([found[i] for i in range(len(clips))])


def store(bank, steps, features):
    for j, step in enumerate(steps):
        bank[step] = features[:, j].detach().clone()
