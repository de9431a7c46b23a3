"""``python -m benchmarks.sbp_forms``: ratios, files, and faults in a sentence."""
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import form_measurement, sbp_forms
from benchmarks.errors import BenchmarkError
from benchmarks.form_measurement import (
    CaseMeasurement,
    case_meter,
    compare,
    measure,
    run_in_process,
)
from benchmarks.networks import (
    BENCHMARK_MODELS,
    VARIANTS,
    BenchmarkCase,
    BenchmarkModel,
    build_network,
)
from sbp_tad.apis.command_line import run_main
from sbp_tad.comparison.step_meter import StepSeconds

ROOT = Path(__file__).parents[2]
TINY = BenchmarkModel(dict(type='ResNet', depth=18, pretrained=None), channels=512, clip_len=1,
                      frames=8, has_checkpointing=False)
SMALL = ['--model', 'tiny', '--size', '32', '--repeats', '1', '--variant']
KEYS = {'variant', 'keep_ratio', 'saved_bytes', 'saved_ratio', 'peak_ratio', 'forward_seconds',
        'backward_seconds', 'time_ratio', 'time_bound'}


def measure_here(case):
    """Without a process; memory that earlier steps left to reuse would show no peak."""
    return replace(measure(case), peak_bytes=1000)


@pytest.fixture
def run(capsys, monkeypatch):
    """Call the program with a tiny model, all in this process; (status, stdout, stderr)."""
    threads = torch.get_num_threads()
    monkeypatch.setitem(BENCHMARK_MODELS, 'tiny', TINY)
    monkeypatch.setattr(form_measurement, 'run_in_process', measure_here)

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            run_main(sbp_forms.main, list(map(str, arguments)))
        return (caught.value.code, *capsys.readouterr())
    yield call
    torch.set_num_threads(threads)


def test_ratios_files_and_table(run, tmp_path):
    status, printed, errors = run(
        *SMALL, 'full', 'frozen', 'sbp-direct', '--keep-ratio', '0.5', '0.25', '--no-fold-bn',
        '--json', tmp_path / 'out.json', '--plot', tmp_path / 'out.png')
    assert (status, errors) == (0, '')
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert [(row['variant'], row['keep_ratio']) for row in rows] == [
        ('full', 1), ('frozen', 0), ('sbp-direct', 0.5), ('sbp-direct', 0.25)]
    assert all(KEYS <= set(row) for row in rows)
    full, frozen, *direct = rows
    assert full['saved_ratio'] == full['peak_ratio'] == full['time_ratio'] == 1
    assert frozen['saved_ratio'] < 0.01
    for row in direct:
        assert row['saved_ratio'] == pytest.approx(row['keep_ratio'], abs=0.01)
    assert (tmp_path / 'out.png').read_bytes().startswith(b'\x89PNG')
    for text in ('tiny, 1 x 8 x 32 x 32, cpu', 'sbp-direct', 'keep ratio', 'x bound'):
        assert text in printed


@pytest.mark.nightly
def test_default_is_every_variant_that_exists(run, tmp_path):
    status, *_ = run(*SMALL[:-1], '--json', tmp_path / 'out.json')
    rows = json.loads((tmp_path / 'out.json').read_text())
    assert status == 0
    assert [row['variant'] for row in rows] == ['full', 'frozen', 'sbp-direct', 'sbp-deferred']
    assert {row['frames'] for row in rows} == {8}


def saved_bytes(*case, **options):
    case = BenchmarkCase(TINY, *case, size=64, **options)
    return case_meter(case, torch.randn(1, 3, case.frames, 64, 64)).saved_bytes()


@pytest.mark.nightly  # of SBPBackbone: tests/models/backbones
def test_deferred_holds_few_clips_however_many_there_are():
    few, many = (saved_bytes('sbp-deferred', 0.5, frames, clips_at_once=1) for frames in (8, 24))
    full = saved_bytes('full', 1.0, 24)
    video = 16 * 3 * 64 * 64 * 4  # the frames that the longer one has more
    assert many - few < 1.5 * video
    assert many < 0.2 * full


def test_folding_halves_what_is_saved():
    folded, unfolded = (saved_bytes('sbp-direct', 0.5, 16, fold_bn=fold) for fold in (True, False))
    assert folded < 0.65 * unfolded


@pytest.mark.parametrize('variant, saved_bound, time_bound', [
    ('sbp-direct', 0.25, (2 + 0.25 * 4) / 6), ('sbp-deferred', None, (2 + 0.25 * 6) / 6),
    ('sbp-token', 0.25, (2 + 0.25 * 4) / 6), ('checkpoint', None, (2 * 2 + 4) / 6)])
def test_medians_ratios_and_bounds(variant, saved_bound, time_bound):
    full = CaseMeasurement(1000, 2000, [StepSeconds(2, 4, 7)], [StepSeconds(2, 4, 7)])
    steps = [StepSeconds(2, 1, 4), StepSeconds(9, 9, 20), StepSeconds(2, 1, 3)]
    beside = [StepSeconds(2, 4, 8), StepSeconds(3, 4, 9), StepSeconds(2, 4, 8)]
    result = compare('tiny', BenchmarkCase(TINY, variant, 0.25, 8),
                     CaseMeasurement(300, 1000, steps, beside), full)
    assert (result.saved_ratio, result.peak_ratio, result.saved_bound) == (0.3, 0.5, saved_bound)
    assert (result.time_ratio, result.wall_ratio) == (0.5, 0.5)
    assert result.time_bound == pytest.approx(time_bound)
    assert result.step_ratios == pytest.approx([3 / 6, 18 / 7, 3 / 6])


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint')
@pytest.mark.parametrize('name', list(BENCHMARK_MODELS))
def test_every_model_has_a_table_entry_that_builds(name):
    model = BENCHMARK_MODELS[name]
    variant = 'checkpoint' if model.has_checkpointing else 'full'
    network = build_network(BenchmarkCase(model, variant, 1.0, model.frames))
    frames = torch.randn(1, 3, model.clip_len, 32, 32)
    loss = network(frames)
    loss.backward()
    assert loss.shape == () and loss > 0


@pytest.mark.parametrize('arguments, message', [
    (['--model', 'vgg'], "unknown model 'vgg'; choose from tsn_r50"),
    ([*SMALL, 'sbp'], "unknown variant 'sbp'; choose from full, frozen"),
    ([*SMALL, 'sbp-token'], 'sbp-token drops tokens of a transformer, but ResNet is none'),
    ([*SMALL, 'checkpoint'], 'ResNet of mmaction has no checkpointing of its blocks'),
    ([*SMALL, 'sbp-direct', '--frames', '1'], 'drops whole clips, but --frames 1 is a single clip'),
    (['--model', 'swin_t', '--frames', '40'], 'a positive multiple of 32, the frames of a clip'),
    ([*SMALL, 'sbp-direct', '--keep-ratio', '0'], 'keep_ratio must be a number in (0, 1], got 0'),
    ([*SMALL, 'sbp-direct', '--keep-ratio', 'nan'], 'keep_ratio must be a number in (0, 1]'),
    ([*SMALL, 'sbp-direct', '--sampler', 'first'], 'sampler must be one of'),
    ([*SMALL, 'sbp-direct', '--sampler', 'gradient'], "mode='deferred'"),
    ([*SMALL, 'full', '--repeats', '0'], '--repeats must be at least 1, got 0'),
    ([*SMALL, 'full', '--clips-at-once', '0'], '--clips-at-once must be at least 1, got 0'),
    ([*SMALL, 'full', '--device', 'tpu'], "--device must be cpu or cuda, got 'tpu'"),
    ([*SMALL, 'full', '--json', 'absent/out.json'], 'the folder absent does not exist'),
])
def test_faults_are_sentences(run, arguments, message):
    status, printed, errors = run(*arguments)
    assert (status, printed) == (2, '')
    assert errors.startswith('Error: ') and message in errors


def test_cuda_without_a_device_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'PyTorch finds no CUDA device' in run(*SMALL, 'full', '--device', 'cuda')[2]


class DeadlyCase(int):
    """Arrives as the status with which its process ends."""

    variant, keep_ratio = 'full', 1.0

    def __reduce__(self):
        return int, (9, )


def test_a_killed_process_is_a_sentence(monkeypatch):
    monkeypatch.setattr(form_measurement, 'measure', os._exit)
    with pytest.raises(BenchmarkError, match='ran out of memory or was killed; choose fewer'):
        run_in_process(DeadlyCase())


@pytest.mark.nightly
def test_runs_as_a_module_with_fresh_processes(tmp_path):
    command = [sys.executable, '-m', 'benchmarks.sbp_forms', '--frames', '8', '--size',
               '32', '--repeats', '1', '--variant', 'sbp-direct', '--json', 'out.json']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert (done.returncode, done.stderr) == (0, '')
    row, = json.loads((tmp_path / 'out.json').read_text())
    assert (row['variant'], row['model']) == ('sbp-direct', 'tsn_r50')
    assert row['peak_bytes'] > row['saved_bytes'] > 0 and row['saved_ratio'] < 0.3


def test_every_variant_is_explained(run):
    printed = run('--help')[1]
    assert all(name in printed for name in (*VARIANTS, *BENCHMARK_MODELS))
