"""The NMS family one pair at a time, as slow and as plain as it can be."""
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
        return 1 - overlap if overlap >= iou_threshold else 1.0
    return 0.0 if overlap >= iou_threshold else 1.0


def nmw(segments, scores, labels, iou_threshold, min_score, max_segments):
    """Indices, scores and mean segments, best first; over all classes in one loop."""
    left = [i for i, score in enumerate(scores) if score > 0 and score >= min_score]
    picks = []
    while left and len(picks) != max_segments:
        best = max(left, key=lambda i: (scores[i], -i))
        members = {best: float(scores[best])}
        for i in left:
            overlap = tiou(segments[i], segments[best])
            if i != best and labels[i] == labels[best] and overlap >= iou_threshold:
                members[i] = scores[i] * overlap
        mean = [sum(w * segments[i][end] for i, w in members.items()) / sum(members.values())
                for end in (0, 1)]
        picks.append((best, float(scores[best]), mean))
        left = [i for i in left if i not in members]
    return [list(column) for column in zip(*picks)] or [[], [], []]


def vote(picks, pick_labels, segments, scores, labels, iou_threshold, by_iou):
    """Each pick as the mean of the detections of its class that overlap it enough."""
    voted = []
    for pick, pick_label in zip(picks, pick_labels):
        total, sums = 0.0, [0.0, 0.0]
        for segment, score, label in zip(segments, scores, labels):
            overlap = tiou(pick, segment)
            if label == pick_label and overlap >= iou_threshold:
                share = score * overlap if by_iou else score
                total += share
                sums = [sums[end] + share * segment[end] for end in (0, 1)]
        voted.append([sums[0] / total, sums[1] / total] if total > 0 else list(pick))
    return voted
