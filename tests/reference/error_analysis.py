"""DETAD's diagnosis by its letter at one threshold: loops over plain tuples.

An instance is (video, label, start, end); a detection has its score behind
and its label is one of the instances'.
"""
from reference.average_precision import activitynet_matches, activitynet_tiou, interpolated_ap


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def kind_of(detection, found, instances, tiou, background_tiou=0.1):
    """Return the kind of a detection that finds the instance number ``found``, or None."""
    if found is not None:
        return 'true_positive'
    overlaps = [(activitynet_tiou(detection[2:4], x[2:]), x[1] == detection[1])
                for x in instances if x[0] == detection[0]]
    best, own_label = max(overlaps, default=(0, False))
    if best >= tiou:
        return 'double_detection' if own_label else 'wrong_label'
    if best >= background_tiou:
        return 'localization' if own_label else 'confusion'
    return 'background'


class Diagnosis:
    """Everything at one threshold, from scratch."""

    def __init__(self, instances, detections, tiou):
        self.instances = instances
        self.labels = sorted({x[1] for x in instances})
        self.size = {label: sum(x[1] == label for x in instances) for label in self.labels}
        self.normal = len(instances) / len(self.labels)
        self.ranking = {label: [(found, kind_of(x, found, instances, tiou)) for x, found
                                in activitynet_matches(instances, detections, label, tiou)]
                        for label in self.labels}

    def kinds_at(self, multiple):
        """Kinds of the detections that rank in this multiple of G (1, 2, ...), all classes."""
        return [kind for label in self.labels for kind in
                [kind for _, kind in self.ranking[label]][(multiple - 1) * self.size[label]:
                                                          multiple * self.size[label]]]

    def mean_ap(self, without=None, normalized=False, top=10**9):
        """mAP without the detections of a kind, among the top multiples of G."""
        return mean(interpolated_ap(
            [kind == 'true_positive' for _, kind in self.ranking[label][:top * self.size[label]]
             if kind != without],
            self.size[label], self.normal / self.size[label] if normalized else 1)
            for label in self.labels)

    def mean_ap_of(self, chosen):
        """Normalised mAP on the chosen numbers of instances."""
        sizes = {label: sum(self.instances[i][1] == label for i in chosen)
                 for label in self.labels}
        return mean(interpolated_ap(
            [found is not None for found, _ in self.ranking[label]
             if found is None or found in chosen], sizes[label], self.normal / sizes[label])
            for label in self.labels if sizes[label])

    def missed(self, min_precision=0.05):
        """Numbers of the instances not found above this normalised precision."""
        missed = set(range(len(self.instances)))
        for label in self.labels:
            hits = 0
            for rank, (found, _) in enumerate(self.ranking[label], start=1):
                hits += found is not None
                weighted = hits * self.normal / self.size[label]
                if found is not None and weighted / (weighted + rank - hits) > min_precision:
                    missed.remove(found)
        return missed
