"""Runs of steps above a threshold, one step, one class and one threshold at a time."""


def group(scores, thresholds):
    """``{(label, start, end): mean score}`` of a list of T lists of C scores."""
    found = {}
    for label in range(len(scores[0])):
        column = [row[label] for row in scores]
        for threshold in thresholds:
            start = None
            for step in range(len(column) + 1):
                inside = step < len(column) and column[step] > threshold
                if inside and start is None:
                    start = step
                elif not inside and start is not None:
                    run = column[start:step]
                    found[label, start, step] = sum(run) / len(run)
                    start = None
    return found


def classes_of_steps(segments, labels, num_steps):
    """The set of classes of every step: centre inside, or the action's own centre in the step."""
    steps = [set() for _ in range(num_steps)]
    for (start, end), label in zip(segments, labels):
        for step in range(num_steps):
            middle = (start + end) / 2
            if start <= step + 0.5 < end or step <= middle < step + 1:
                steps[step].add(label)
    return steps
