"""Figures that a page quotes are those of the committed JSON."""
import json
import os
import statistics
import subprocess
import sys

import pytest
from pages import ROOT, page

COSTS = 'docs/explanation/costs.md'
PUBLISHED = 'docs/howto/published_checkpoints.md'
COMPARISONS = sorted((ROOT / 'configs/toy').glob('strategies_*.json'))
DEMO_PAGES = dict(sbp=('demo_sbp-r4', ['README.md', 'docs/tutorials/first_detector.md']),
                  online=('demo_online_sbp-r4', ['docs/tutorials/online_detection.md']))
FROZEN = dict(frozen='docs/tutorials/first_detector.md',
              online_frozen='docs/tutorials/online_detection.md')


def read(name):
    return json.loads((ROOT / f'configs/toy/{name}.json').read_text())


def flowing(name):
    """A page without its line breaks."""
    return ' '.join(page(name).split())


def percent(share):
    return f'{100 * share:.2f} %'


def mebibytes(amount, digits=1):
    return f'{amount / 2**20:.{digits}f} MiB'


def test_the_study_is_committed():
    assert {path.stem for path in COMPARISONS} >= {'strategies_r3d10', 'strategies_r3d10_long',
                                                   'strategies_vit4', 'strategies_online'}


@pytest.mark.parametrize('path', COMPARISONS, ids=lambda path: path.stem)
def test_every_row_of_costs_is_that_of_the_figures(path):
    comparison = json.loads(path.read_text())
    for row in comparison['strategies']:
        runs = [run for run in comparison['runs'] if run['strategy'] == row['strategy']]
        assert [run['mAP'] for run in runs] == row['mAPs'] and len(runs) >= 3
        cells = (f"{100 * row['mAP']:.2f} ± {100 * row['mAP_deviation']:.2f} | "
                 f"{100 * row['mAP_difference']:+.2f} | {row['saved_backbone_ratio']:.3f}")
        if row.get('step_peak_bytes'):
            cells += f" | {row['step_peak_bytes'] / 2**20:.0f} | {row['step_time_ratio']:.2f}"
        assert any(line.startswith(f"| `{row['strategy']}`") and cells in line
                   for line in page(COSTS).splitlines()), (row['strategy'], cells)


@pytest.mark.parametrize('strategy, words', [
    ('full', 'full backpropagation'), ('guided:0.25', 'SBP guided, r = 1/4'),
    ('direct:0.25', 'SBP direct, r = 1/4'), ('frozen-stages:1', 'stem and first stage frozen'),
    ('memory-bank:0.25', 'memory bank (TALLFormer)'), ('frozen', 'backbone frozen')])
def test_every_row_of_the_readme_is_that_of_the_figures(strategy, words):
    def row_of(name):
        return next((row for row in read(name)['strategies'] if row['strategy'] == strategy), None)

    def accuracy(row):
        return f"{100 * row['mAP']:.2f} ± {100 * row['mAP_deviation']:.2f}" if row else 'not run'

    row = row_of('strategies_r3d10')
    cells = [words, accuracy(row), accuracy(row_of('strategies_r3d10_long')),
             f"{row['saved_backbone_ratio']:.3f}", mebibytes(row['step_peak_bytes'], 0),
             f"{row['step_time_ratio']:.2f}"]
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in page('README.md').splitlines()]
    assert cells in rows


@pytest.mark.parametrize('name, pages', DEMO_PAGES.values(), ids=DEMO_PAGES)
def test_figures_of_a_demo_are_those_of_its_summary(name, pages):
    summary = read(name)
    figures = [mebibytes(summary['saved_for_backward_bytes']),
               mebibytes(summary['saved_for_backward_bytes_full'])]
    figures += [percent(summary[key]) for key in ('average_mAP', 'frame_mAP',
                                                  'frame_calibrated_mAP') if key in summary]
    for path in pages:
        for figure in figures:
            assert f'| {figure} |' in page(path), (path, figure)


def test_the_tutorial_quotes_the_whole_summary():
    summary, text = read('demo_sbp-r4'), page('docs/tutorials/first_detector.md')
    for threshold, share in summary['mAP'].items():
        assert f'| mAP at tIoU {threshold} | {percent(share)} |' in text
    for figure in (mebibytes(summary['peak_memory_bytes'], 0),
                   f"{summary['seconds_per_iteration']:.3f}", f"{summary['seconds_total']:.0f}"):
        assert f'| {figure} |' in text


def test_the_online_tutorial_quotes_the_whole_summary():
    summary, text = read('demo_online_sbp-r4'), page('docs/tutorials/online_detection.md')
    for figure in (mebibytes(summary['peak_memory_bytes'], 0),
                   f"{1000 * summary['latency_seconds']:.1f}",
                   f"{summary['difference_from_test']:.0e}",
                   f"{summary['seconds_per_iteration']:.3f}", f"{summary['seconds_total']:.0f}"):
        assert f'| {figure} |' in text, figure


def test_frozen_backbones_are_quoted_as_measured():
    frozen, online = read('demo_frozen'), read('demo_online_frozen')
    for path in ('README.md', 'docs/tutorials/first_detector.md'):
        assert f"{percent(frozen['average_mAP'])} average mAP" in flowing(path)
    assert f"{percent(frozen['mAP']['0.70'])} at tIoU 0.7" in flowing(FROZEN['frozen'])
    assert (f"{percent(online['frame_mAP'])} mAP, {percent(online['frame_calibrated_mAP'])} "
            'calibrated') in flowing(FROZEN['online_frozen'])


def test_the_long_run_is_quoted_as_measured():
    text = flowing('docs/howto/recover_from_errors.md')
    first, last = read('long_run')['rows'][0], read('long_run')['rows'][-1]

    def resident(row):
        return f"{row['resident_kib'] / 1024:.0f}"

    assert (f"From iteration {first['iteration']} to {last['iteration']:,} the process went from "
            f"{resident(first['main'])} to {resident(last['main'])} MiB") in text
    workers = [{resident(worker) for worker in row['workers']} for row in (first, last)]
    assert [len(values) for values in workers] == [1, 1]
    assert f'workers from {workers[0].pop()} to {workers[1].pop()}' in text
    assert first['tensors'] == last['tensors'] and f"Tensors ({last['tensors']})" in text


def results(name):
    return json.loads((ROOT / f'benchmarks/results/{name}.json').read_text())


def by_ratio(name, variant):
    """Saved memory, time and time of the bound at r = 1/2, 1/4 and 1/8."""
    rows = {row['keep_ratio']: row for row in results(name) if row['variant'] == variant}
    return [rows[ratio] for ratio in (0.5, 0.25, 0.125)]


def joined(values, digits):
    return ', '.join(f'{value:.{digits}f}' for value in values)


@pytest.mark.parametrize('form', ['direct', 'deferred'])
def test_costs_of_clips_are_those_of_the_benchmark(form):
    rows = by_ratio('tsn_r50_128x112', f'sbp-{form}')
    cells = [form, joined([row['saved_ratio'] for row in rows], 3),
             joined([row['time_ratio'] for row in rows], 2),
             joined([row['time_ratio'] / row['time_bound'] for row in rows], 2)]
    # The bound is that of the pairs of steps, so its last digit may round the other way.
    line = f"| {' | '.join(cells[:3])} |"
    found, = [text for text in page(COSTS).splitlines() if text.startswith(line)]
    quoted = [float(value) for value in found.strip('| ').rpartition('|')[2].split(',')]
    assert quoted == pytest.approx([float(value) for value in cells[3].split(',')], abs=0.011)


@pytest.mark.parametrize('name, words', [('swin_t_32x112', 'Video Swin-T, 32 x 112 x 112'),
                                         ('videomae_s_16x112', 'VideoMAE-S, 16 x 112 x 112')])
def test_costs_of_tokens_are_those_of_the_benchmark(name, words):
    rows = by_ratio(name, 'sbp-token')
    assert (f"| {words} | {joined([row['saved_ratio'] for row in rows], 3)} | "
            f"{joined([row['time_ratio'] for row in rows], 3)} |") in page(COSTS)


@pytest.mark.parametrize('step', [0, 50, 200, 400])
def test_variance_of_the_cnn_is_that_of_the_measurement(step):
    rows = {row['sampler']: row for row in results('gradient_variance_frame_cnn')
            if row['weights'] == f'step {step}'}
    guided, oracle = rows['gradient'], rows['oracle_norm']
    assert (f"| frame CNN, step {step} | {guided['to_uniform_jitter']:.2f} | "
            f"{guided['to_random']:.2f} | {oracle['to_uniform_jitter']:.2f}, "
            f"{oracle['to_random']:.2f} |") in page(COSTS)


@pytest.mark.parametrize('index, words', [(0, 'demo, before training'),
                                          (1, 'demo, after training')])
def test_variance_of_the_demo_is_that_of_the_measurement(index, words):
    def values(sampler, key):
        return joined([[row for row in results(f'gradient_variance_detector_clips-of-{length}')
                        if row['sampler'] == sampler][index][key] for length in (8, 4, 2)], 2)

    assert (f"| {words} | {values('gradient', 'to_uniform_jitter')} | "
            f"{values('gradient', 'to_random')} | {values('oracle_norm', 'to_uniform_jitter')}; "
            f"{values('oracle_norm', 'to_random')} |") in page(COSTS)


def test_decoding_is_quoted_as_measured():
    ratios = {(row['reader'].split(',')[-1].strip(), row['gop']): f"{row['cpu_ratio']:.2f}"
              for row in results('decoding_128x4_320x180') if not row['bare']}
    text = flowing(COSTS)
    assert (f"take {ratios['PyAVSeekDecode', 48]} (a key frame every 48 frames) and "
            f"{ratios['PyAVSeekDecode', 250]} (every 250)") in text
    assert (f"decord's pipeline takes {ratios['DecordDecode', 48]} and "
            f"{ratios['DecordDecode', 250]}") in text


@pytest.mark.nightly
def test_the_planned_memory_is_what_the_tool_prints():
    name = 'docs/howto/choose_a_keep_ratio.md'
    command, = [line for line in page(name).replace('\\\n', ' ').splitlines()
                if line.startswith('python tools/plan_memory.py')]
    done = subprocess.run([sys.executable, '-W', 'ignore', *command.split()[1:]], cwd=ROOT,
                          env=dict(os.environ, COLUMNS='200'), capture_output=True, text=True)
    printed = [[cell.strip() for cell in line.strip('│').split('│')]
               for line in done.stdout.splitlines() if line.startswith('│')]
    quoted = [[cell.strip() for cell in line.strip('|').split('|')]
              for line in page(name).splitlines() if line.startswith(('| direct', '| deferred'))]
    assert len(quoted) == 6 and all(row in printed for row in quoted)


def test_trainings_by_both_codes_are_quoted_as_measured():
    names = {'published': 'published code', 'sbp_tad': 'this project'}
    other = {'published': 'sbp_tad', 'sbp_tad': 'published'}
    rows, text = results('published_training')['rows'], page(PUBLISHED)
    averages = {code: [row['mAP'][code]['average'] for row in rows if row['trained_by'] == code]
                for code in names}
    for row in rows:
        own, converted = (row['mAP'][code] for code in (row['trained_by'],
                                                        other[row['trained_by']]))
        values = [own[key] for key in ('0.30', '0.40', '0.50', '0.60', '0.70', 'average')]
        cells = ' | '.join(f'{value:.2f}' for value in [*values, converted['average']])
        assert f"| {names[row['trained_by']]} | {row['seed']} | {cells} |" in text
        assert all(abs(own[key] - converted[key]) < 0.03 for key in own)
    for values in averages.values():
        assert len(values) >= 3
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        assert f'{mean:.2f} ± {deviation:.2f}' in flowing(PUBLISHED)
    centre, spread = (statistics.mean(averages['published']),
                      2 * statistics.stdev(averages['published']))
    assert all(abs(value - centre) <= spread for value in averages['sbp_tad'])
