"""Tables of evaluation results for the terminal, in percent."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sbp_tad.evaluation.average_recall import AverageRecall
from sbp_tad.evaluation.bootstrap import ConfidenceIntervals
from sbp_tad.evaluation.evaluate import EvaluationCase, EvaluationResult
from sbp_tad.evaluation.frame_evaluation import FrameResult
from sbp_tad.evaluation.options import threshold_name
from sbp_tad.evaluation.per_video import VideoScores
from sbp_tad.wording import agreeing, count_of

RULE_CAUSES = {'excluded_videos': 'in excluded videos',
               'unknown_labels': 'whose label is no class of the ground truth',
               'outside_videos': 'in videos that are not in the ground truth',
               'empty_detections': 'that end before or when they start'}
SHOWN_NUMBERS = (1, 5, 10, 50, 100)  # of proposals


def print_result(result: EvaluationResult, file: TextIO | None = None,
                 bootstrap: ConfidenceIntervals | None = None,
                 average_recall: AverageRecall | None = None,
                 per_video: VideoScores | None = None, notes: Sequence[str] = ()) -> None:
    """Print AP per class, mAP per threshold, optional details and a summary of the rules."""
    tables = [class_table(result), mean_table(result, bootstrap)]
    if average_recall is not None:
        tables.insert(1, recall_table(average_recall))
    if per_video is not None:
        tables.insert(0, video_table(result, per_video))
    _print(tables, '\n'.join([summary(result), *notes]), file)


def print_recall(recall: AverageRecall, case: EvaluationCase, notes: Sequence[str] = (),
                 file: TextIO | None = None) -> None:
    """Print average recall alone, for proposals without labels."""
    text = (f'subset {case.subset}: {count_of(len(case.comparison.ground_truth), "instance")} in '
            f'{count_of(len(case.truth), "video")}, {count_of(len(case.proposals), "proposal")}. '
            'No detection has a label of the ground truth, so there is no mAP.')
    _print([recall_table(recall)], '\n'.join([text, *notes]), file)


def print_frame_result(result: FrameResult, file: TextIO | None = None) -> None:
    """Print AP and calibrated AP per class, their means and the number of counted frames."""
    table = Table(title='Average precision of frames (%)', title_justify='left')
    table.add_column('class', no_wrap=True)
    for name in ('AP', 'calibrated AP'):
        table.add_column(name, justify='right', no_wrap=True)
    columns = result.average_precision, result.calibrated_average_precision
    for name, *row in zip(result.class_names, *columns):
        table.add_row(Text(name), *map(_cell, row))
    table.add_section()
    table.add_row(f'mean of {count_of(len(result.class_names), "class", "classes")}', *map(_cell, (
        result.mean_average_precision, result.mean_calibrated_average_precision)), style='bold')
    _print([table], frame_summary(result), file)


def frame_summary(result: FrameResult) -> str:
    """Return one line on the counted frames and one on classes without a frame."""
    lines = [f'{count_of(result.num_frames, "frame")} of {count_of(result.num_videos, "video")}, '
             f'{count_of(result.num_ambiguous_frames, "ambiguous frame")} left out.']
    if result.smoothed:
        lines.append('Scores were smoothed with future frames: this is not an online result.')
    if result.absent_classes:
        lines.append('No frame shows these classes; their AP is 0, their calibrated AP is '
                     f'undefined: {", ".join(result.absent_classes)}.')
    return '\n'.join(lines)


def class_table(result: EvaluationResult) -> Table:
    """Return a table of AP (%) per class at each tIoU threshold and their average."""
    table = _table('Average precision per class (%)', result, 'class')
    for name, row in zip(result.class_names, result.average_precision):
        table.add_row(Text(name), *_percent(row))
    return table


def mean_table(result: EvaluationResult, bootstrap: ConfidenceIntervals | None = None) -> Table:
    """Return a table of mAP (%) at each tIoU threshold and their average, with intervals."""
    table = _table('Mean average precision (%)', result, 'tIoU')
    table.add_row(f'mAP of {count_of(len(result.class_names), "class", "classes")}',
                  *_percent(result.mean_average_precision), style='bold')
    if bootstrap is not None:
        ends = zip(('lower', 'upper'), bootstrap.mean_average_precision,
                   bootstrap.average_mean_average_precision)
        for end, row, average in ends:
            draws = count_of(bootstrap.num_samples, 'draw')
            table.add_row(f'{100 * bootstrap.confidence:g} % {end}, {draws}',
                          *map(_cell, (*row, average)))
    return table


def recall_table(recall: AverageRecall) -> Table:
    """Return a table of AR (%) at some mean numbers of proposals and the area under the curve."""
    low, high = recall.tiou_thresholds[0], recall.tiou_thresholds[-1]
    table = Table(title=f'Average recall, tIoU {low:g} to {high:g} (%)',
                  title_justify='left')
    for number in SHOWN_NUMBERS:
        table.add_column(f'AR@{number}', justify='right', no_wrap=True)
    table.add_column('AUC', justify='right', no_wrap=True)
    table.add_row(*(_cell(recall.average_recall[number - 1]) for number in SHOWN_NUMBERS),
                  _cell(recall.area_under_curve))
    return table


def video_table(result: EvaluationResult, videos: VideoScores) -> Table:
    """Return a table of mAP (%) and counts of each video alone, the worst first."""
    table = _table('Mean average precision per video (%)', result, 'video')
    for name in ('instances', 'detections'):
        table.add_column(name, justify='right', no_wrap=True)
    averages = videos.mean_average_precision.mean(axis=1)
    for row in np.argsort(averages, kind='stable'):
        table.add_row(Text(videos.video_names[row]),
                      *_percent(videos.mean_average_precision[row]),
                      str(videos.num_ground_truth[row]), str(videos.num_predictions[row]))
    return table


def summary(result: EvaluationResult) -> str:
    """Return one line on the scored data and one on each rule that applied."""
    lines = [f'{result.options.protocol} protocol, subset {result.subset}: '
             f'{count_of(result.num_ground_truth, "instance")} in '
             f'{count_of(result.num_videos, "video")}, '
             f'{count_of(result.num_predictions, "detection")}.']
    actions = {'excluded_videos': 'drop', 'unknown_labels': result.options.unknown_labels,
               'outside_videos': result.options.outside_videos,
               'empty_detections': result.options.empty_detections}
    lines += [_rule_sentence(name, count, actions[name])
              for name, count in result.rule_counts.items() if count]
    return '\n'.join(lines)


def _rule_sentence(rule: str, count: int, action: str) -> str:
    effect = {'drop': 'dropped', 'false-positive': 'counted as false positives'}.get(action, action)
    verb = agreeing(count, 'was', 'were')
    return (f'{count_of(count, "detection")} {RULE_CAUSES[rule]} {verb} {effect} '
            f'(rule {rule}: {action}).')


def _print(tables: Sequence[Table], text: str, file: TextIO | None) -> None:
    console = Console(markup=False, emoji=False, file=file or sys.stdout)
    if not console.is_terminal:  # a file or a pipe has no width: never wrap or cut
        unbounded = Console(markup=False, emoji=False, width=10_000)
        console.width = max(80, *(unbounded.measure(table).maximum for table in tables))
    for table in tables:
        console.print(table)
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(title: str, result: EvaluationResult, corner: str) -> Table:
    table = Table(title=title, title_justify='left')
    table.add_column(corner, no_wrap=True)
    for tiou in result.options.tiou_thresholds:
        table.add_column(threshold_name(tiou), justify='right', no_wrap=True)
    table.add_column('average', justify='right', no_wrap=True)
    return table


def _percent(fractions: np.ndarray | Sequence[float]) -> list[str]:
    return [_cell(value) for value in (*fractions, np.mean(fractions))]


def _cell(fraction: float) -> str:
    return '-' if np.isnan(fraction) else f'{100 * fraction:.2f}'
