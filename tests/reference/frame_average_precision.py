"""AP and calibrated AP of one class over frames, by the letter: one threshold after another."""


def frame_ap(scores, targets):
    """(AP, calibrated AP) as sums over the thresholds of recall gained times precision."""
    positives, negatives = sum(targets), len(targets) - sum(targets)
    ap = calibrated = recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = [hit for score, hit in zip(scores, targets) if score >= threshold]
        hits, misses = sum(chosen), len(chosen) - sum(chosen)
        gained = hits / positives - recall
        recall = hits / positives
        ap += gained * hits / (hits + misses)
        if hits:
            weight = negatives / positives
            calibrated += gained * hits / (hits + (misses / weight if misses else 0))
    return ap, calibrated


def largest_around(scores):
    """The largest of the five numbers around each of a list."""
    return [max(scores[max(0, i - 2):i + 3]) for i in range(len(scores))]
