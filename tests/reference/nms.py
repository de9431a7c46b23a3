"""Soft-NMS one pair at a time, as slow and as plain as it can be."""
import numpy as np


def tiou(a, b):
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if union > 0 else 0.0


def soft_nms(segments, scores, labels, sigma, min_score, max_segments, method, iou_threshold):
    """Indices and new scores, best first; over all classes in one loop."""
    scores = {i: float(score) for i, score in enumerate(scores)}
    picks = []
    while True:
        scores = {i: s for i, s in scores.items() if s > 0 and s >= min_score}
        if not scores or len(picks) == max_segments:
            return [i for i, _ in picks], [s for _, s in picks]
        best = max(scores, key=lambda i: (scores[i], -i))
        picks.append((best, scores.pop(best)))
        for i in scores:
            if labels[i] == labels[best]:
                overlap = tiou(segments[i], segments[best])
                scores[i] *= weight(overlap, sigma, method, iou_threshold)


def weight(overlap, sigma, method, iou_threshold):
    if method == 'gaussian':
        return np.exp(overlap * overlap / -sigma)
    if method == 'linear':
        return 1 - overlap if overlap > iou_threshold else 1.0
    return 0.0 if overlap >= iou_threshold else 1.0
