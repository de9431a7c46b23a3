"""Files of an annotation and of detections with every kind of mistake, for tests of the tools."""
import copy
import json

import numpy as np

CLASSES = ['Clean and Jerk', 'Diving', 'Golf_Swing']
FPS = 25.0


def make_annotation():
    """6 test and 2 training videos with 4 instances each, classes in turn."""
    rng = np.random.default_rng(0)
    database = {}
    for number in range(8):
        duration = 60.0 + 10 * number
        starts = np.sort(rng.uniform(0, duration - 10, 4))
        database[f'video_{number:03d}'] = dict(
            subset='test' if number < 6 else 'training', duration=duration, fps=FPS,
            annotations=[dict(segment=[start, start + 2 + 2 * index],
                              label=CLASSES[(number + index) % 3])
                         for index, start in enumerate(starts.tolist())])
    return database


def perfect_results(database):
    """Every instance of the test videos once, with different scores."""
    results = {name: [dict(segment=list(item['segment']), label=item['label'],
                           score=1 - index / 10 - int(name[-1]) / 100)
                      for index, item in enumerate(video['annotations'])]
               for name, video in database.items() if video['subset'] == 'test'}
    return results


def changed(results, change):
    """A copy in which ``change(video, detection)`` has changed each detection in place."""
    results = copy.deepcopy(results)
    for video, found in results.items():
        for detection in found:
            change(video, detection)
    return results


def renamed(results, rename):
    """A copy with other video ids."""
    return {rename(name): found for name, found in results.items()}


def scaled(results, factor_of):
    """A copy whose times are multiplied by ``factor_of(video)``."""
    def scale(video, detection):
        detection['segment'] = [time * factor_of(video) for time in detection['segment']]
    return changed(results, scale)


def relabelled(results, rename):
    """A copy with other labels; None removes them."""
    def relabel(_, detection):
        label = rename(detection.pop('label'))
        if label is not None:
            detection['label'] = label
    return changed(results, relabel)


def write(path, content):
    """Write JSON."""
    path.write_text(json.dumps(content))
    return path
