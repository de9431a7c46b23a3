"""Temporal action detection, trained end to end with stochastic backpropagation.

Data flow::

    video -> windows of frames -> SBP backbone -> temporal neck and head
          -> segments -> mAP

Each stage is an OpenMMLab component in a child registry of scope ``sbp_tad``
(:mod:`sbp_tad.registry`). Stochastic backpropagation (SBP) itself is in
:mod:`sbp_tad.sbp`, which is independent of detection and imports torch alone.

Shapes: ``B`` videos in the batch, ``T`` frames, ``K`` clips, ``L`` frames
per clip, ``C`` channels, ``H W`` pixels, ``N`` segments, ``r`` keep ratio. Frames
are ``(B, C, T, H, W)``; features ``(B, C, T')``; masks ``(B, T')`` bool, True
where the video is real; segments ``(N, 2)`` float, in seconds in annotations
and results, in grid units inside a head; the name states the unit
(``segments_seconds``, ``segments_grid``).

The import of the package is fast: it checks the installed versions without
importing them. ``custom_imports = dict(imports=['sbp_tad'])`` in any mmaction
config makes ``sbp_tad.X`` resolve, because mmengine imports
``sbp_tad.registry`` when it first meets the scope. After ``import sbp_tad``
configs can inherit from ``sbp_tad::toy/actionformer_r3d10_sbp-r4_toy.py``.
"""
from sbp_tad import compat, versions

__version__ = '0.1.0'

versions.check_versions()
compat.provide_missing_drn()
compat.offer_configs()
compat.prepare_runners()
