# The detector of make demo, end to end from scratch.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/toy.py',
          '../_base_/models/actionformer_r3d10_toy.py', '../_base_/schedules/adamw_short.py']

# A quarter of the clips is backpropagated, the forward is whole.
model = dict(backbone=dict(keep_ratio=0.25))
