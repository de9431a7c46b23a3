"""AR@AN of the ActivityNet proposal task by its letter: loops over plain tuples.

An instance is (video, label, start, end); a detection has its score behind.
"""
from reference.average_precision import activitynet_tiou


def average_recall_at(instances, detections, tiou_thresholds, maximum=100):
    """Recall per threshold and average number of proposals 1, ..., ``maximum``."""
    videos = sorted({x[0] for x in instances})
    proposals = {video: sorted([x for x in detections if x[0] == video], key=lambda x: -x[4])
                 for video in videos}
    ratio = maximum * len(videos) / max(len(detections), 1)
    for video, mine in proposals.items():
        proposals[video] = mine[:int(len(mine) * ratio)]
    retrieved = sum(map(len, proposals.values()))
    recall = []
    for tiou in tiou_thresholds:
        recall.append([])
        for number in range(1, maximum + 1):
            share = number / maximum * (maximum * len(videos) / max(retrieved, 1))
            found = 0
            for video, _, *segment in instances:
                mine = proposals[video]
                found += any(activitynet_tiou(x[2:4], segment) >= tiou
                             for x in mine[:int(len(mine) * share)])
            recall[-1].append(found / len(instances))
    return recall
