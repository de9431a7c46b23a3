"""Centre sampling one point and one action at a time."""


def assign(levels, segments, labels, num_classes, radius):
    """Targets of every point.

    levels: (length, stride, shortest reach, longest reach) of each.
    Returns a list of (set of classes, segment or None), one a point.
    """
    targets = []
    for length, stride, low, high in levels:
        for step in range(length):
            point = (step + 0.5) * stride
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
