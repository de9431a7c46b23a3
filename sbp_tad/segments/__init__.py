"""Temporal segments: overlap, non-maximum suppression, merging and voting. NumPy only."""
from sbp_tad.segments.overlap import SegmentError, temporal_iou
from sbp_tad.segments.suppression import METHODS, non_maximum_weighted, soft_nms
from sbp_tad.segments.voting import VOTE_WEIGHTS, vote_segments

__all__ = [
    'METHODS', 'SegmentError', 'VOTE_WEIGHTS', 'non_maximum_weighted', 'soft_nms',
    'temporal_iou', 'vote_segments',
]
