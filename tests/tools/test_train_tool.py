"""Train, resume and test on real mp4 files, with the options that a user types."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sbp_tad.datasets.toy_videos import ToySettings, build_toy_dataset
from sbp_tad.evaluation.detections import read_detections

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs/toy/actionformer_r3d10_sbp-r4_toy.py')
SMALL = ['train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
         'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
         'test_dataloader.num_workers=0',
         'test_dataloader.batch_size=3',
         'train_dataloader.dataset.windows_per_video=1', 'train_cfg.max_epochs=2',
         'train_cfg.val_interval=1']


@pytest.fixture(scope='module')
def toy(made_once):
    settings = ToySettings(train_videos=2, test_videos=2, size=64)
    return made_once('train_tool_toy', lambda folder: build_toy_dataset(folder, settings))


def data_options(folder):
    return [f'{loader}_dataloader.dataset.data_root={folder}' for loader in ('train', 'val',
                                                                             'test')]


def run_script(*command):
    """Run a tool from the repository root in a process of its own; its whole output."""
    done = subprocess.run([sys.executable, '-W', 'ignore', *map(str, command)], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope='session')
def run(call_tool):
    """Run a tool in this process, with that exit status; its whole output."""
    def call(name, *arguments, status=0):
        found, output, errors = call_tool(name, *arguments)
        assert found == status, errors
        return output + errors
    return call


@pytest.fixture(scope='module')
def trained(toy, run, made_once):
    """Return the work dir of a training in small and what was printed."""
    def train(folder):
        printed = run('train', CONFIG, '--work-dir', folder / 'work', '--seed', '3',
                      '--cfg-options', *SMALL, *data_options(toy),
                      'visualizer.type=TimelineVisualizer',
                      'default_hooks.detections.type=DetectionVisualizationHook')
        (folder / 'printed').write_text(printed)
    folder = made_once('train_tool_run', train)
    return folder / 'work', (folder / 'printed').read_text()


@pytest.mark.slow
def test_training_logs_what_it_should(trained):
    work_dir, output = trained
    for entry in ('eta: ', 'keep_ratio: 0.25', 'peak_memory_mib: ', 'tad/average_mAP: '):
        assert entry in output
    assert 'is not installed' not in output
    assert list(work_dir.glob('best_tad_average_mAP_epoch_*.pth'))
    pictures = list(work_dir.glob('*/vis_data/vis_image/detections_*.png'))
    assert len(pictures) == 4  # two videos, two validations


@pytest.mark.slow
def test_testing_gives_the_figures_of_the_last_validation(trained, toy, run, tmp_path):
    """A checkpoint in a fresh process scores what it scored in training."""
    work_dir, output = trained
    dump = tmp_path / 'found.json.gz'
    tested = run_script('tools/test.py', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path,
                        '--dump', dump, '--raw-dump', tmp_path / 'raw.npz', '--cfg-options',
                        *SMALL, *data_options(toy))
    figures = [text.rsplit('tad/average_mAP: ', 1)[1].split()[0] for text in (output, tested)]
    assert figures[0] == figures[1]
    assert len(read_detections(dump)) > 0
    truth = toy / 'annotations.json'
    run('evaluate', '--ground-truth', truth, '--predictions', dump, '--subset', 'test',
        '--tiou', '0.3:0.7:0.1', '--json', tmp_path / 'scores.json')
    average = json.loads((tmp_path / 'scores.json').read_text())['average_mAP']
    assert f'{average:.4f}' == figures[1]
    run('tune_nms', tmp_path / 'raw.npz', '--ground-truth', truth, '--grid',
        'sigma=0.5,0.3', 'min_score=0.001,0.1', '--processes', '2', '--json',
        tmp_path / 'tuned.json')
    tuned = json.loads((tmp_path / 'tuned.json').read_text())
    assert len(tuned) == 4
    assert average in [one['average_mAP'] for one in tuned
                       if one['post_processing']['sigma'] == 0.5
                       and one['post_processing']['min_score'] == 0.001]


@pytest.mark.slow
def test_resuming_goes_on_where_the_run_ended(trained, toy, run, tmp_path):
    """From the checkpoint of epoch 1: the second epoch is run, with the schedule it had."""
    work_dir, _ = trained
    half = tmp_path / 'half'
    half.mkdir()
    (half / 'epoch_1.pth').write_bytes((work_dir / 'epoch_1.pth').read_bytes())
    (half / 'last_checkpoint').write_text(str(half / 'epoch_1.pth'))
    printed = run('train', CONFIG, '--work-dir', half, '--seed', '3', '--resume',
                  '--cfg-options', *SMALL, *data_options(toy))
    assert 'resumed epoch: 1' in printed
    whole, resumed = [torch.load(folder / 'epoch_2.pth', weights_only=False)
                      for folder in (work_dir, half)]
    assert resumed['meta']['iter'] == whole['meta']['iter'] == 2
    assert resumed['state_dict'].keys() == whole['state_dict'].keys()
    steps = [{float(state['step']) for state in checkpoint['optimizer']['state'].values()}
             for checkpoint in (whole, resumed)]
    assert steps[0] == steps[1] == {2.0}
    assert resumed['param_schedulers'] == whole['param_schedulers']


@pytest.mark.nightly  # test_any_number_of_processes_gives_the_same_map runs with every change
def test_two_processes_score_what_one_does(trained, toy, tmp_path):
    """A number of windows that two do not divide: the padded duplicate must not count."""
    work_dir, _ = trained
    tool = ['tools/test.py', CONFIG, work_dir / 'epoch_2.pth']
    options = ['--cfg-options', *SMALL, *data_options(toy)]
    one = run_script(*tool, '--work-dir', tmp_path / 'one', *options)
    two = run_script('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', *tool,
                     '--launcher', 'pytorch', '--work-dir', tmp_path / 'two', *options)
    figures = [json.loads(next(folder.glob('*/*.json')).read_text().splitlines()[-1])
               for folder in (tmp_path / 'one', tmp_path / 'two')]
    for figure in figures:
        for timing in ('time', 'data_time'):
            figure.pop(timing, None)
    assert figures[0] == figures[1], (one[-500:], two[-500:])
    found = [read_detections(tmp_path / name / 'detections.json') for name in ('one', 'two')]
    assert found[0].to_results() == found[1].to_results()


@pytest.mark.slow
def test_a_failing_video_does_not_cost_the_others(trained, toy, run, tmp_path):
    work_dir, _ = trained
    broken = tmp_path / 'toy'
    (broken / 'videos').mkdir(parents=True)
    for path in (toy / 'videos').iterdir():
        (broken / 'videos' / path.name).write_bytes(path.read_bytes())
    (broken / 'annotations.json').write_bytes((toy / 'annotations.json').read_bytes())
    bad = broken / 'videos' / 'toy_test_0000.mp4'
    bad.write_bytes(bad.read_bytes()[:300])
    command = ['test', CONFIG, work_dir / 'epoch_2.pth', '--work-dir', tmp_path / 'work',
               '--cfg-options', *SMALL, *data_options(broken)]
    printed = run(*command, status=2)
    assert 'Traceback' not in printed and '1 test videos could not be read' in printed
    assert 'toy_test_0000.mp4' in printed.split('could not be read')[1]
    found = read_detections(tmp_path / 'work' / 'detections.json').to_results()
    assert len(found['toy_test_0001']) > 0 and not found.get('toy_test_0000')
    printed = run(*command, 'test_evaluator.unreadable=report')
    assert 'Then their actions count as missed' in printed and 'average_mAP' in printed


@pytest.mark.parametrize('options, message', [
    (['absent.py'], 'Error: config absent.py'),
    ([CONFIG, '--cfg-options', 'model.backbone.keep_ratio=1.5'],
     r'keep_ratio must be a number in (0, 1], got 1.5'),
    ([CONFIG, '--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], 'nowhere')])
def test_bad_input_gets_a_sentence(options, message, run, tmp_path):
    printed = run('train', options[0], '--work-dir', tmp_path, *options[1:], status=2)
    assert 'Traceback' not in printed and message in printed.replace('\n', ' ')
