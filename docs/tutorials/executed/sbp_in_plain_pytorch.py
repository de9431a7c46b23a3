"""
Keep a quarter of the backward
==============================

Stochastic backpropagation (SBP) needs nothing of OpenMMLab. Here we wrap a small
network in plain PyTorch, look at what it keeps in memory, and check that its
gradient is right.
"""

# %%
# A batch of clips
# ----------------
#
# Take two videos, each cut into 16 clips; here a clip is one frame of 3 x 32 x 32
# pixels. The network turns a clip into a feature vector.
import matplotlib.pyplot as plt
import torch
from torch import nn

from sbp_tad.sbp import ClipwiseSBP, SavedMemory, SBPConfig, draw_kept_clips

torch.manual_seed(0)
clips = torch.randn(2, 16, 3, 32, 32)  # (B, K, C, H, W)
network = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(1))

# %%
# Wrap the network
# ----------------
#
# ``keep_ratio=0.25`` backpropagates 4 of the 16 clips of each video. The features
# are those of the network itself.
encoder = ClipwiseSBP(network, SBPConfig(keep_ratio=0.25))
features = encoder(clips)
print(features.shape)
print(torch.equal(features.detach(), network(clips.flatten(0, 1)).detach()))

# %%
# Which clips are kept follows from (seed, step, sample) alone. A second run draws
# the same clips, and the random state of torch is not touched.
kept = draw_kept_clips(16, 0.25, 'uniform_jitter', [(0, step, 0) for step in range(12)])
figure, axes = plt.subplots(figsize=(7, 3.2), layout='constrained')
axes.imshow(kept, cmap='Oranges', aspect='auto', vmin=0, vmax=1.4)
axes.set(xlabel='clip', ylabel='training step', title='kept clips of one video (orange)')
plt.show()

# %%
# Less is saved for backward
# --------------------------
#
# :class:`~sbp_tad.sbp.memory.SavedMemory` counts the bytes that a forward pass
# saves for the backward pass.
ratios = (1, 0.5, 0.25, 0.125)
saved = []
for ratio in ratios:
    encoder = ClipwiseSBP(network, SBPConfig(keep_ratio=ratio))
    with SavedMemory(encoder) as memory:
        encoder(clips)
    saved.append(memory.bytes / 2**20)
    print(f'r = {ratio}: {saved[-1]:.2f} MiB')

figure, axes = plt.subplots(figsize=(6, 3), layout='constrained')
axes.bar(range(4), saved, color='#d9730d', width=0.6)
axes.set(xticks=range(4), xticklabels=ratios, xlabel='keep ratio r',
         ylabel='saved for backward, MiB')
plt.show()

# %%
# The gradient is right on average
# --------------------------------
#
# Gradients of kept clips are divided by their chance of being kept. So their mean
# over many draws comes closer and closer to the full gradient.


def gradient_of(module: nn.Module) -> torch.Tensor:
    """Return the gradient of the first layer for one loss."""
    network.zero_grad()
    module(clips).square().mean().backward()
    return network[0].weight.grad.clone()


full = gradient_of(ClipwiseSBP(network, SBPConfig(keep_ratio=1)))
encoder = ClipwiseSBP(network, SBPConfig(keep_ratio=0.25))
draws = torch.stack([gradient_of(encoder) for _ in range(200)])
counts = torch.arange(1, len(draws) + 1)
means = draws.cumsum(dim=0) / counts.reshape(-1, 1, 1, 1, 1)
errors = (means - full).flatten(1).norm(dim=1) / full.norm()

figure, axes = plt.subplots(figsize=(6, 3), layout='constrained')
axes.loglog(counts, errors, color='#2f6db5')
axes.set(xlabel='draws', ylabel='relative distance\nof the mean gradient')
plt.show()
print(f'after 1 draw: {errors[0]:.3f}, after 200 draws: {errors[-1]:.3f}')

# %%
# Next
# ----
#
# - In a config, ``SBPBackbone`` wraps a backbone of mmaction in the same way: see
#   :doc:`/tutorials/first_detector`.
# - The other forms of SBP: :doc:`/explanation/how_sbp_works`.
