"""Average precision by the letter of both protocols: loops over plain tuples, slow and plain.

An instance is (video, label, start, end); a detection has its score behind.
"""


def shared_seconds(first, second):
    """Overlap of two (start, end)."""
    return max(0.0, min(first[1], second[1]) - max(first[0], second[0]))


def activitynet_tiou(first, second):
    """tIoU with the sum of the lengths less the overlap as the union."""
    shared = shared_seconds(first, second)
    return shared / ((first[1] - first[0]) + (second[1] - second[0]) - shared) if shared else 0.0


def thumos14_tiou(first, second):
    """tIoU with the hull as the union; the ends may come in either order."""
    first, second = sorted(first), sorted(second)
    shared = shared_seconds(first, second)
    return shared / (max(first[1], second[1]) - min(first[0], second[0])) if shared else 0.0


def activitynet_matches(instances, detections, label, tiou):
    """Detections of a class, best first, each with the number of the instance it finds or None."""
    free = [i for i, x in enumerate(instances) if x[1] == label]
    matches = []
    for detection in sorted([x for x in detections if x[1] == label], key=lambda x: -x[4]):
        video, _, *segment, _ = detection
        best = None
        for i in free:
            candidate = instances[i]
            overlap = activitynet_tiou(segment, candidate[2:])
            if candidate[0] == video and overlap >= tiou:
                gap = min(abs(segment[0] - candidate[2]), abs(segment[1] - candidate[3]))
                if best is None or (overlap, -gap) > best[0]:
                    best = ((overlap, -gap), i)
        matches.append((detection, best and best[1]))
        if best:
            free.remove(best[1])
    return matches


def interpolated_ap(hits, num_instances, weight=1):
    """Area under the interpolated curve; a true positive counts ``weight`` in the precision."""
    precisions = [weight * sum(hits[:i + 1]) / (weight * sum(hits[:i + 1])
                                                + hits[:i + 1].count(False))
                  for i in range(len(hits))]
    return sum(max(precisions[i:]) for i, hit in enumerate(hits) if hit) / num_instances


def activitynet_ap(instances, detections, label, tiou):
    """AP of one class at one threshold."""
    matches = activitynet_matches(instances, detections, label, tiou)
    return interpolated_ap([found is not None for _, found in matches],
                           sum(x[1] == label for x in instances))


def thumos14_ap(instances, detections, label, tiou, ambiguous='Ambiguous'):
    """AP of one class at one threshold, as the official tool."""
    ranked = []
    for video in sorted({x[0] for x in (*instances, *detections)}):
        mine = sorted([x for x in detections if x[:2] == (video, label)], key=lambda x: -x[4])
        free = list(range(len(mine)))
        for instance in instances:
            if instance[:2] != (video, label) or not free:
                continue
            best = max(free, key=lambda i: thumos14_tiou(mine[i][2:4], instance[2:]))
            if thumos14_tiou(mine[best][2:4], instance[2:]) > tiou:
                free.remove(best)
        clouds = [x[2:] for x in instances if x[:2] == (video, ambiguous)]
        for i, detection in enumerate(mine):
            if i not in free:
                ranked.append((detection[4], True))
            elif not any(thumos14_tiou(detection[2:4], cloud) > 0 for cloud in clouds):
                ranked.append((detection[4], False))
    ranked.sort(key=lambda x: -x[0])
    hits = [hit for _, hit in ranked]
    precisions = [sum(hits[:i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(p for p, hit in zip(precisions, hits) if hit) / sum(
        x[1] == label for x in instances)
