"""A score that cannot be right says so: mistakes of users through the three tools."""
import csv
import json
import pickle
from functools import partial

import numpy as np
import pytest
from evaluation_files import (
    CLASSES,
    FPS,
    changed,
    make_annotation,
    perfect_results,
    relabelled,
    renamed,
    scaled,
    write,
)

from sbp_tad.evaluation.detection_columns import Detections
from sbp_tad.evaluation.detections import write_detections
from sbp_tad.evaluation.options import EvaluationOptions
from sbp_tad.evaluation.raw_predictions import RawPredictions, write_raw_predictions
from sbp_tad.segments.merging import PostProcessing

DATABASE = make_annotation()
RESULTS = perfect_results(DATABASE)


def number_of(label):
    return CLASSES.index(label)


def epic(_, detection):
    detection.update(verb=number_of(detection.pop('label')), noun=1, action='0,1')


def with_length(_, detection):
    start, end = detection['segment']
    detection['segment'] = [end, end - start]


# name -> (results, words of the refusal, options that cure it)
MISTAKES = {
    'prefix': (renamed(RESULTS, 'v_{}'.format), 'differ only in folder, extension, prefix',
               ['--map-video-ids']),
    'extension': (renamed(RESULTS, 'videos/{}.MP4'.format), "'videos/video_000.MP4' and 'video_0",
                  ['--map-video-ids']),
    'case': (renamed(RESULTS, str.upper), 'Add --map-video-ids', ['--map-video-ids']),
    'affixes': (renamed(RESULTS, 'thumos_{}_rgb'.format), 'Add --map-video-ids',
                ['--map-video-ids']),
    'frames': (scaled(RESULTS, lambda _: FPS), 'The times look like frames. Add --time-unit frames',
               ['--time-unit', 'frames']),
    'steps': (scaled(RESULTS, lambda _: 6.25),
              'feature steps of 4 frames. Add --time-unit frames --frames-per-step 4',
              ['--time-unit', 'frames', '--frames-per-step', '4']),
    'steps within the videos': (
        scaled(RESULTS, lambda _: FPS / 16),
        'feature steps of 16 frames. Add --time-unit frames --frames-per-step 16 to convert',
        ['--time-unit', 'frames', '--fps', FPS / 16]),
    'another rate': (scaled(RESULTS, lambda _: 30),
                     '30 per second. Add --time-unit frames --fps 30',
                     ['--time-unit', 'frames', '--fps', '30']),
    'minutes': (scaled(RESULTS, lambda _: 1 / 60), 'like minutes. Add --time-unit minutes',
                ['--time-unit', 'minutes']),
    'hours': (scaled(RESULTS, lambda _: 1 / 3600), 'like hours. Add --time-unit hours',
              ['--time-unit', 'hours']),
    'microseconds': (scaled(RESULTS, lambda _: 1e6), 'Add --time-unit microseconds',
                     ['--time-unit', 'microseconds']),
    'percent': (scaled(RESULTS, lambda name: 100 / DATABASE[name]['duration']),
                'like percent of the video. Add --time-unit percent', ['--time-unit', 'percent']),
    'milliseconds': (scaled(RESULTS, lambda _: 1000), 'Add --time-unit milliseconds',
                     ['--time-unit', 'milliseconds']),
    'fractions': (scaled(RESULTS, lambda name: 1 / DATABASE[name]['duration']),
                  'like fractions of the video. Add --time-unit fraction',
                  ['--time-unit', 'fraction']),
    'numbers': (relabelled(RESULTS, number_of), 'The labels are numbers. Add --labels-by-index',
                ['--labels-by-index']),
    'digits': (relabelled(RESULTS, lambda label: str(number_of(label))),
               'The labels are numbers. Add --labels-by-index', ['--labels-by-index']),
    'label case': (relabelled(RESULTS, lambda label: label.lower().replace(' ', '_')),
                   "punctuation: 'clean_and_jerk' and 'Clean and Jerk'. Add --map-labels",
                   ['--map-labels']),
    'EPIC-Kitchens': (changed(RESULTS, epic), 'Choose one with --label-key verb, noun or action',
                      ['--label-key', 'verb', '--labels-by-index']),
}
# name -> (content of the file, words of the refusal); no option cures them
HOPELESS = {
    'unknown videos': (dict(results={f'other{i}': found for i, found in enumerate(
        RESULTS.values())}), 'lie in videos that the ground truth does not list'),
    'another subset': (dict(results={'video_006': RESULTS['video_000'][:1],
                                     'video_007': RESULTS['video_001'][:1]}),
                       "in the subset 'training'. Give --subset training"),
    'unknown labels': (dict(results=relabelled(RESULTS, lambda _: 'action')),
                       '100% of the detections have labels without ground truth'),
    'no labels': (dict(results=relabelled(RESULTS, lambda _: None)),
                  '100% of the detections have no label'),
    'no detections': (dict(results={name: [] for name in RESULTS}), 'There is no detection'),
    'no videos': (dict(results={}), 'There is no detection'),
    'no results': (dict(version='1', detections={}), 'has a "version" but no "results"'),
    'lengths': (dict(results=changed(RESULTS, with_length)), 'do not start before they end'),
    'list without videos': (dict(results=[found for row in RESULTS.values() for found in row]),
                            '"results" is read as a video, because its list names no video'),
    'plain list': ([found for row in RESULTS.values() for found in row],
                   'is a list whose entry 0 names no video'),
    'text': ('no detections', 'expected {"results": {video: [...]}}'),
}


@pytest.fixture
def truth(tmp_path):
    return write(tmp_path / 'gt.json', dict(database=DATABASE))


@pytest.fixture
def evaluate(call_tool, truth):
    """Call ``tools/evaluate.py`` with predictions and options."""
    return partial(call_tool, 'evaluate', '--ground-truth', truth, '--subset', 'test',
                   '--predictions')


@pytest.fixture
def analyze(call_tool, truth, tmp_path):
    """Call ``tools/analyze_errors.py`` with predictions and options."""
    return partial(call_tool, 'analyze_errors', '--ground-truth', truth, '--subset', 'test',
                   '--out', tmp_path / 'errors', '--predictions')


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_refused_with_the_option_that_cures_it(evaluate, tmp_path, name):
    results, message, cure = MISTAKES[name]
    path = write(tmp_path / 'pred.json', dict(results=results))
    status, printed, errors = evaluate(path)
    assert (status, printed) == (2, '') and errors.startswith('Error: ') and message in errors
    status, _, errors = evaluate(path, *cure, '--json', tmp_path / 'out.json')
    assert status == 0 and 'Error' not in errors
    assert json.loads((tmp_path / 'out.json').read_text())['average_mAP'] == pytest.approx(1)


@pytest.mark.parametrize('name', HOPELESS)
def test_other_mistakes_are_named(evaluate, tmp_path, name):
    content, message = HOPELESS[name]
    status, printed, errors = evaluate(write(tmp_path / 'pred.json', content))
    assert (status, printed) == (2, '') and message in errors


@pytest.mark.parametrize('name', ['prefix', 'milliseconds', 'numbers'])
def test_the_error_analysis_refuses_and_cures_them_too(analyze, tmp_path, name):
    results, message, cure = MISTAKES[name]
    path = write(tmp_path / 'pred.json', dict(results=results))
    status, printed, errors = analyze(path)
    assert (status, printed) == (2, '') and message in errors
    status, printed, _ = analyze(path, *cure)
    assert status == 0 and 'average mAP 100.00' in printed


def test_implausible_input_can_be_scored_all_the_same(evaluate, tmp_path):
    path = write(tmp_path / 'pred.json', renamed(RESULTS, 'v_{}'.format))
    status, printed, errors = evaluate(path, '--implausible', 'warn')
    assert status == 0 and '0.00' in printed
    assert errors.startswith('Warning: 100% of the detections lie in videos')


def test_missing_parts_are_warned_of_or_noted(evaluate, tmp_path):
    path = write(tmp_path / 'pred.json', {'video_000': RESULTS['video_000'][:1]})
    status, _, errors = evaluate(path)
    assert status == 0
    assert 'Warning: 2 of 3 classes have no detection, which gives AP 0' in errors
    assert 'Warning: 5 of 6 videos with instances have no detection' in errors
    part = {name: found for name, found in RESULTS.items() if name != 'video_003'}
    status, printed, errors = evaluate(write(tmp_path / 'pred.json', part))
    assert (status, errors) == (0, '')
    assert '1 of 6 videos with instances has no detection, so that the instances' in printed


def test_names_of_options_that_match_nothing_are_warned_of(evaluate, tmp_path):
    path = write(tmp_path / 'pred.json', RESULTS)
    status, _, errors = evaluate(path, '--exclude-video', 'vide_000', '--ignore-label', 'Divng')
    assert status == 0
    assert "neither file lists: 'vide_000'" in errors and "neither file has: 'Divng'" in errors
    status, _, errors = evaluate(path, '--subset', 'test,tset')
    assert status == 0 and 'no video is in subset tset' in errors


def test_a_key_that_occurs_twice_is_an_error(evaluate, call_tool, tmp_path):
    text = json.dumps(RESULTS).replace('"video_001"', '"video_000"')
    (tmp_path / 'pred.json').write_text(text)
    status, _, errors = evaluate(tmp_path / 'pred.json')
    assert status == 2 and "a key more than once: 'video_000' (2 times)" in errors
    good = write(tmp_path / 'good.json', RESULTS)
    text = json.dumps(dict(database=DATABASE)).replace('"video_001"', '"video_000"')
    (tmp_path / 'twice.json').write_text(text)
    status, _, errors = call_tool('evaluate', '--ground-truth', tmp_path / 'twice.json',
                                  '--subset', 'test', '--predictions', good)
    assert status == 2 and "the key 'video_000' occurs 2 times" in errors


def test_detections_nowhere_near_the_instances_are_refused(evaluate, analyze, tmp_path):
    path = write(tmp_path / 'pred.json', RESULTS)
    for tool in evaluate, analyze:
        status, printed, errors = tool(path, '--time-unit', 'frames')  # they are seconds
        assert (status, printed) == (2, '')
        assert 'The times look like seconds. Leave --time-unit frames out.' in errors


@pytest.mark.parametrize('name, options, advice', [
    ('minutes', ['fraction'], 'Give --time-unit minutes instead of --time-unit fraction.'),
    ('microseconds', ['milliseconds'], 'Give --time-unit microseconds instead of'),
    ('frames', ['frames', '--fps', '30'],
     'Give --time-unit frames instead of --time-unit frames --fps 30.'),
    ('steps', ['frames'], 'Give --time-unit frames --frames-per-step 4 instead of'),
    ('percent', ['fraction'], 'Give --time-unit percent instead of --time-unit fraction.')])
def test_a_wrong_unit_is_never_followed_in_silence(evaluate, tmp_path, name, options, advice):
    path = write(tmp_path / 'pred.json', dict(results=MISTAKES[name][0]))
    status, printed, errors = evaluate(path, '--time-unit', *options)
    assert (status, printed) == (2, '') and advice in errors


def test_shifted_detections_are_warned_of(evaluate, tmp_path):
    def late(_, detection):
        detection['segment'] = [time + 30 for time in detection['segment']]
    database = json.loads(json.dumps(DATABASE))
    for video in database.values():
        video['duration'] += 40
    truth = write(tmp_path / 'long.json', dict(database=database))
    path = write(tmp_path / 'pred.json', changed(RESULTS, late))
    status, _, errors = evaluate(path, '--ground-truth', truth, '--implausible', 'warn')
    assert status == 0 and errors.startswith('Warning: The detections look shifted. As they are, ')
    assert '30 s earlier, 100%. Check that both files count the time from' in errors


def test_a_frame_rate_that_the_annotation_contradicts_is_warned_of(evaluate, tmp_path):
    """The detections are too weak to say which rate is right."""
    rng = np.random.default_rng(1)

    def anywhere(name, detection):
        start = rng.uniform(0, FPS * (DATABASE[name]['duration'] - 10))
        detection['segment'] = [start, start + rng.uniform(20, 200)]
    path = write(tmp_path / 'pred.json', changed(RESULTS, anywhere))
    for rate, is_odd in ((29.97, True), (25.1, False), (6.25, False)):
        status, _, errors = evaluate(path, '--time-unit', 'frames', '--fps', rate,
                                     '--implausible', 'warn')
        assert status == 0
        assert (f"than --fps {rate:g}, for example 25 of 'video_000'. Leave --fps out" in errors
                ) is is_odd


def test_a_zero_is_never_bare(evaluate, tmp_path):
    found = [dict(segment=[0, 60], label='Diving', score=0.5)]
    status, printed, errors = evaluate(write(tmp_path / 'pred.json', {'video_000': found}))
    assert status == 0 and '0.00' in printed and 'Warning: mAP is 0, because no detection' in errors


@pytest.mark.parametrize('options, message', [
    (['--subset', ''], 'Give --subset, or --dataset'),
    (['--bootstrap', 5, '--seed', -1], '--seed must not be negative, got -1'),
    (['--time-unit', 'frames', '--fps', 'inf'], '--fps is a positive number'),
    (['--fps', 25], 'goes with --time-unit frames, got --fps 25 and --time-unit seconds'),
    (['--time-unit', 'frames', '--frames-per-step', '0'], '--frames-per-step is a positive number'),
    (['--labels-by-index', 'none.txt'], 'Cannot read the class names in none.txt'),
    (['--labels-by-index'], "--labels-by-index: the labels are no numbers: 'Clean and Jerk'"),
    (['--label-key', 'verb'], "no detection has the key 'verb', only segment, ")])
def test_options_that_cannot_be_are_sentences(evaluate, tmp_path, options, message):
    status, printed, errors = evaluate(write(tmp_path / 'pred.json', RESULTS), *options)
    assert (status, printed) == (2, '') and message in errors


def test_an_annotation_in_frames_is_refused(call_tool, tmp_path):
    database = json.loads(json.dumps(DATABASE))
    for video in database.values():
        for item in video['annotations']:
            item['segment'] = [FPS * time for time in item['segment']]
    status, _, errors = call_tool(
        'evaluate', '--ground-truth', write(tmp_path / 'frames.json', dict(database=database)),
        '--subset', 'test', '--predictions', write(tmp_path / 'pred.json', RESULTS))
    assert status == 2 and 'of the segments of the annotation end after their videos' in errors


@pytest.mark.parametrize('rename', [lambda _: None, lambda _: 'proposal'])
def test_average_recall_needs_no_label(evaluate, tmp_path, rename):
    path = write(tmp_path / 'pred.json', relabelled(RESULTS, rename))
    status, printed, errors = evaluate(path, '--average-recall', '--json', tmp_path / 'out.json')
    assert (status, errors) == (0, '') and 'AR@100' in printed and 'there is no mAP' in printed
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['average_recall']['AR@100'] == 1 and 'mAP' not in found
    labelled = write(tmp_path / 'labelled.json', RESULTS)
    evaluate(labelled, '--average-recall', '--json', tmp_path / 'out.json')
    assert json.loads((tmp_path / 'out.json').read_text())['average_recall'] == \
        found['average_recall']


def rows():
    return [(name, *found['segment'], found['label'], found['score'])
            for name, row in RESULTS.items() for found in row]


def test_tables_and_pickles_are_read(evaluate, tmp_path):
    names = tmp_path / 'classes.txt'
    names.write_text('\n'.join(CLASSES))
    columns = [np.array(column) for column in zip(*rows())]
    columns[3] = np.array([number_of(label) for label in columns[3]])
    keys = ('video-id', 't-start', 't-end', 'label', 'score')
    with open(tmp_path / 'eval_results.pkl', 'wb') as file:
        pickle.dump(dict(zip(keys, [columns[0].tolist(), *columns[1:]])), file)
    with open(tmp_path / 'pred.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('', *keys), *((i, *row) for i, row in enumerate(rows()))])
    with open(tmp_path / 'pred.txt', 'w') as file:
        file.writelines(f'{video} {start} {end} {number_of(label)} {score}\n'
                        for video, start, end, label, score in rows())
    flat = [dict(video_id=video, segment=[start, end], label=label, score=score)
            for video, start, end, label, score in rows()]
    write(tmp_path / 'list.json', flat)
    for name, options in (('eval_results.pkl', ['--labels-by-index', names]), ('pred.csv', []),
                          ('pred.txt', ['--labels-by-index', names]), ('list.json', [])):
        status, _, errors = evaluate(tmp_path / name, *options, '--json', tmp_path / 'out.json')
        assert (status, errors) == (0, ''), name
        assert json.loads((tmp_path / 'out.json').read_text())['average_mAP'] == \
            pytest.approx(1), name


def test_classes_in_the_wrong_order_are_refused(evaluate, tmp_path):
    path = write(tmp_path / 'pred.json', relabelled(RESULTS, number_of))
    names = tmp_path / 'classes.txt'
    names.write_text('\n'.join([*CLASSES[1:], CLASSES[0]]))
    status, printed, errors = evaluate(path, '--labels-by-index', names)
    assert (status, printed) == (2, '')
    assert 'only 0% have its label. Check the order of the classes: --labels-by-index' in errors


@pytest.fixture
def tune(call_tool, truth, tmp_path):
    """Write a dump with renamed videos and classes and call ``tools/tune_nms.py``."""
    def call(rename, relabel, *options):
        windows = {rename(name): [(np.array([found['segment'] for found in row]),
                                   np.array([found['score'] for found in row]),
                                   np.array([number_of(found['label']) for found in row]))]
                   for name, row in RESULTS.items()}
        write_raw_predictions(tmp_path / 'raw.npz', RawPredictions(
            windows, tuple(map(relabel, CLASSES)), PostProcessing(), EvaluationOptions(),
            ('test', )))
        return call_tool('tune_nms', tmp_path / 'raw.npz', '--ground-truth', truth, '--json',
                         tmp_path / 'out.json', *options)
    return call


@pytest.mark.parametrize('rename, relabel, message, cure', [
    ('v_{}'.format, str, 'Add --map-video-ids', '--map-video-ids'),
    (str, str.lower, 'Add --map-labels', '--map-labels')])
def test_tuning_refuses_and_cures_names(tune, tmp_path, rename, relabel, message, cure):
    status, printed, errors = tune(rename, relabel)
    assert (status, printed) == (2, '') and message in errors
    assert tune(rename, relabel, cure)[0] == 0
    assert json.loads((tmp_path / 'out.json').read_text())[0]['average_mAP'] == pytest.approx(1)


def test_tuning_on_other_data_is_refused(tune):
    status, printed, errors = tune('clip{}'.format, str, '--subset', 'training')
    assert (status, printed) == (2, '') and 'Error: 100% of the detections lie in videos' in errors


@pytest.mark.parametrize('name', ['pred.json', 'pred.json.gz'])
def test_detections_that_the_tools_wrote_are_never_refused_for_their_unit(evaluate, tmp_path, name):
    path = tmp_path / name
    write_detections(path, Detections.from_results(MISTAKES['frames'][0]))
    status, _, errors = evaluate(path)
    assert status == 0 and 'Warning: ' in errors and 'look like frames' in errors
    status, _, errors = evaluate(path, '--time-unit', 'minutes')
    assert status == 2


def test_few_detections_that_miss_all_instances_cause_no_alarm(evaluate, tmp_path):
    early = {name: [dict(row, segment=[0.01, 0.3 + index]) for index, row in enumerate(found)]
             for name, found in list(RESULTS.items())[:3]}
    status, _, errors = evaluate(write(tmp_path / 'pred.json', early))
    assert status == 0 and 'best detections' not in errors and 'seconds' not in errors
