"""Frame scores for the tests of the online metric, its file and its tool."""
import numpy as np

from sbp_tad.evaluation.frame_scores import FrameScores


def frame_scores(seed=0, lengths=(30, 0, 41), num_classes=3, names=True, score_type=np.float32):
    """Random scores with ties and targets of every kind: background, several, ambiguous."""
    rng = np.random.default_rng(seed)
    shape = sum(lengths), num_classes + 2
    scores = (rng.integers(0, 20, shape) / 20).astype(score_type)
    targets = rng.random(shape) < 0.3
    targets[:, -1] &= rng.random(shape[0]) < 0.3
    videos = tuple(f'v{i}' for i in range(len(lengths)))
    classes = tuple(f'action {i}' for i in range(num_classes)) if names else None
    return FrameScores(scores, targets, videos, np.array(lengths), classes)
