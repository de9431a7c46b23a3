"""Assignment one point or anchor and one action at a time."""


def assign(levels, segments, labels, num_classes, radius):
    """Targets of every point.

    levels: (length, stride, shortest reach, longest reach) of each.
    Returns a list of (set of classes, segment or None), one a point.
    """
    targets = []
    for length, stride, low, high in levels:
        for step in range(length):
            point = step * stride + 0.5
            candidates = []
            for (start, end), label in zip(segments, labels):
                middle = (start + end) / 2
                left, right = start, end
                if radius > 0:
                    left = max(start, middle - radius * stride)
                    right = min(end, middle + radius * stride)
                farther = max(point - start, end - point)
                if left < point < right and low <= farther <= high:
                    candidates.append((end - start, (start, end), label))
            if not candidates:
                targets.append((set(), None))
                continue
            shortest = min(candidates, key=lambda candidate: candidate[0])
            classes = {label for size, _, label in candidates if size <= shortest[0] + 1e-3}
            targets.append((classes, shortest[1]))
    assert all(label < num_classes for classes, _ in targets for label in classes)
    return targets


def assign_anchors(anchors, real, segments, positive_iou, negative_iou):
    """For each anchor the index of its action, -1 for background or None where it does not count.

    Rules in order, later ones overrule: not counted, background below one
    threshold, the best action from the other on, every action's best anchors.
    """
    def tiou(a, b):
        shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
        union = (a[1] - a[0]) + (b[1] - b[0]) - shared
        return shared / union if union > 0 else 0.0

    overlaps = [[tiou(anchor, segment) for segment in segments] for anchor in anchors]
    assigned = [None] * len(anchors)
    for number, row in enumerate(overlaps):
        best = max(row, default=0.0)
        if not real[number]:
            continue
        if best >= positive_iou and row:
            assigned[number] = row.index(best)
        elif best < negative_iou or not row:
            assigned[number] = -1
    for action in range(len(segments)):
        usable = [number for number in range(len(anchors)) if real[number]]
        most = max((overlaps[number][action] for number in usable), default=0.0)
        for number in usable:
            if most > 0 and overlaps[number][action] == most:
                assigned[number] = action
    return assigned
