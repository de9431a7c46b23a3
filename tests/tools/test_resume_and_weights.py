"""Resuming continues exactly or is refused; testing refuses weights that do not fill the model."""
from pathlib import Path

import pytest
import torch
from feature_training import make_training

THREE_CLASSES = ('model.head.num_classes=3', *(
    f'{role}_dataloader.dataset.metainfo.classes=a,b,c' for role in ('train', 'val', 'test')))


@pytest.fixture(scope='module')
def config(made_once):
    return made_once('feature_training', make_training) / 'config.py'


@pytest.fixture(scope='module')
def whole(config, call_tool, made_once):
    """Return the work dir of a training that nobody interrupted."""
    def train(folder):
        status, _, errors = call_tool('train', config, '--work-dir', folder)
        assert status == 0, errors
    return made_once('feature_training_run', train)


def named(path: Path, part: str) -> Path:
    return next(path.glob(part))


def refused(call_tool, *arguments):
    status, _, errors = call_tool(*arguments)
    sentences = [line for line in errors.splitlines()
                 if not line.startswith(('Loading ', 'Resuming '))]
    assert status == 2 and sentences[0].startswith('Error: '), errors
    assert 'Traceback' not in errors
    return '\n'.join(sentences)


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def load(path):
    return torch.load(path, weights_only=False)


# ---------------------------------------------------------------- resuming
HARMLESS = dict(
    work_dir=[],
    logging=['default_hooks.logger.interval=3', 'log_level=WARNING',
             'default_hooks.timer.type=CPUTimeHook', 'visualizer.type=TimelineVisualizer'],
    workers=['train_dataloader.num_workers=1', 'val_dataloader.num_workers=1'],
    evaluation=['train_cfg.val_interval=1', 'val_dataloader.batch_size=1',
                'model.test_cfg.sigma=0.3', 'default_hooks.checkpoint.max_keep_ckpts=1'])


@pytest.mark.parametrize('harmless', [
    pytest.param(sum(HARMLESS.values(), []), id='all'),
    *(pytest.param(options, id=name, marks=pytest.mark.nightly)
      for name, options in HARMLESS.items())])
def test_what_may_change_does_not_change_the_weights(harmless, config, whole, call_tool, tmp_path):
    before = sorted(path.name for path in whole.glob('*.pth'))
    options = ['--cfg-options', *harmless] if harmless else []
    status, _, errors = call_tool('train', config, '--work-dir', tmp_path / 'other', '--resume',
                                  whole / 'epoch_2.pth', *options)
    assert status == 0, errors
    resumed, expected = load(tmp_path / 'other/epoch_4.pth'), load(whole / 'epoch_4.pth')
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert same(resumed[part], expected[part]), part
    assert sorted(path.name for path in whole.glob('*.pth')) == before


@pytest.mark.parametrize('options, told', [
    (['train_dataloader.batch_size=3'],
     'train_dataloader.batch_size: 2 in the checkpoint, 3 now'),
    pytest.param(['optim_wrapper.optimizer.lr=0.001'],
                 'optim_wrapper.optimizer.lr: 0.003 in the checkpoint, 0.001 now',
                 marks=pytest.mark.nightly),
    (['param_scheduler.1.T_max=9'], 'param_scheduler.1.T_max: 3 in the checkpoint, 9 now'),
    pytest.param(['param_scheduler='], 'param_scheduler.0.type', marks=pytest.mark.nightly),
    (THREE_CLASSES, 'model.head.num_classes: 2 in the checkpoint, 3 now'),
    pytest.param(['train_dataloader.sampler.shuffle=False'],
                 'train_dataloader.sampler.shuffle: True in the checkpoint, False now',
                 marks=pytest.mark.nightly),
    (['train_dataloader.sampler.type=InfiniteSampler'], 'train_dataloader.sampler.type'),
    pytest.param(['randomness.seed=5'], 'randomness.seed: 0 in the checkpoint, 5 now',
                 marks=pytest.mark.nightly),
    pytest.param(['default_hooks.ema.type=EMAHook'],
                 "EMAHook.type: not set in the checkpoint, 'EMAHook' now",
                 marks=pytest.mark.nightly),
    (['train_dataloader.dataset.subsets=test'], 'number of training items: 6 in the checkpoint, 2'),
    (['train_dataloader.dataset.ann_file=other.json'], 'digest of the annotation')])
def test_another_training_is_refused(options, told, config, whole, call_tool, tmp_path):
    other = config.parent / 'other.json'
    other.write_text((config.parent / 'annotations.json').read_text().replace('"a"', '"b"', 1))
    checkpoint = whole / 'epoch_2.pth'
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--resume', checkpoint,
                   '--cfg-options', *options)
    assert f'{checkpoint} cannot be resumed exactly by this run' in text and told in text
    assert f'--cfg-options load_from={checkpoint}' in text
    assert not list(tmp_path.glob('*.pth'))


def test_several_changes_are_all_named(config, whole, call_tool, tmp_path):
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--resume',
                   whole / 'epoch_2.pth', '--seed', '1', '--cfg-options',
                   'train_dataloader.batch_size=3', 'optim_wrapper.optimizer.lr=1')
    for key in ('train_dataloader.batch_size', 'optim_wrapper.optimizer.lr', 'randomness.seed'):
        assert key in text


def test_the_advice_can_be_followed(config, whole, call_tool, tmp_path):
    """A new run from the weights takes the new values."""
    status, _, errors = call_tool(
        'train', config, '--work-dir', tmp_path, '--cfg-options', 'train_dataloader.batch_size=3',
        'train_cfg.max_epochs=1', f'load_from={whole / "epoch_2.pth"}')
    assert status == 0, errors
    assert load(tmp_path / 'epoch_1.pth')['meta']['iter'] == 2


@pytest.mark.nightly
def test_more_epochs_are_fine_when_nothing_depends_on_their_number(config, whole, call_tool,
                                                                   tmp_path):
    longer = ['--cfg-options', 'train_cfg.max_epochs=5']
    for name, resume in (('resumed', ['--resume', whole / 'epoch_4.pth']), ('straight', [])):
        status, _, errors = call_tool('train', config, '--work-dir', tmp_path / name, *resume,
                                      *longer)
        assert status == 0, errors
    resumed, straight = (load(tmp_path / name / 'epoch_5.pth') for name in ('resumed', 'straight'))
    assert same(resumed['state_dict'], straight['state_dict'])


@pytest.mark.nightly
def test_a_run_without_the_hook_of_exact_resume_is_checked_and_warned(config, whole, call_tool,
                                                                      tmp_path):
    command = ('train', config, '--work-dir', tmp_path, '--resume', whole / 'epoch_2.pth',
               '--cfg-options', 'default_hooks.exact_resume=None',
               'default_hooks.resume_check=None')
    status, output, errors = call_tool(*command)
    assert status == 0 and 'The config has no ExactResumeHook' in output + errors
    assert 'batch_size' in refused(call_tool, *command, 'train_dataloader.batch_size=3')


def test_the_best_checkpoint_is_refused(config, whole, call_tool, tmp_path):
    best = named(whole, 'best_*.pth')
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--resume', best)
    assert f'{best} cannot be resumed from: it lacks optimizer, param_schedulers' in text
    assert 'epoch_*.pth' in text and f'load_from={best}' in text


def test_weights_alone_are_refused(config, whole, call_tool, tmp_path):
    torch.save(load(whole / 'epoch_2.pth')['state_dict'], tmp_path / 'weights.pth')
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--resume',
                   tmp_path / 'weights.pth')
    assert 'it lacks meta, message_hub, optimizer' in text


def test_a_config_that_resumes_is_checked_too(config, whole, call_tool, tmp_path):
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--cfg-options',
                   'resume=True', f'load_from={named(whole, "best_*.pth")}')
    assert 'cannot be resumed from' in text
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--cfg-options',
                   'resume=True', 'load_from=absent.pth')
    assert 'checkpoint absent.pth does not exist' in text


@pytest.mark.parametrize('content, told', [
    ('absent/epoch_9.pth', "names the checkpoint 'absent/epoch_9.pth', which does not exist"),
    ('', "names the checkpoint '', which does not exist")])
def test_a_note_that_points_nowhere(content, told, config, call_tool, tmp_path):
    (tmp_path / 'last_checkpoint').write_text(content)
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--resume')
    assert told in text and 'to start again' in text


def test_a_work_dir_without_a_checkpoint_is_named(config, call_tool, tmp_path):
    status, _, errors = call_tool('train', config, '--work-dir', tmp_path, '--resume',
                                  '--cfg-options', 'train_cfg.max_epochs=1')
    assert status == 0 and (tmp_path / 'epoch_1.pth').is_file()
    assert f'No last_checkpoint in {tmp_path}: training starts from the beginning' in errors


def test_a_moved_work_dir_is_resumed(config, whole, call_tool, tmp_path):
    (tmp_path / 'epoch_2.pth').write_bytes((whole / 'epoch_2.pth').read_bytes())
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_2.pth')
    status, _, errors = call_tool('train', config, '--work-dir', tmp_path, '--resume')
    assert status == 0, errors
    assert same(load(tmp_path / 'epoch_4.pth')['state_dict'],
                load(whole / 'epoch_4.pth')['state_dict'])


@pytest.mark.parametrize('content', [
    pytest.param(b'', marks=pytest.mark.nightly),
    pytest.param(b'no checkpoint at all', marks=pytest.mark.nightly), None])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_damaged_checkpoint_is_a_sentence(tool, content, config, whole, call_tool, tmp_path):
    path = tmp_path / 'damaged.pth'
    stored = (whole / 'epoch_2.pth').read_bytes()
    path.write_bytes(stored[:len(stored) // 2] if content is None else content)
    words = ['--resume', path] if tool == 'train' else [path]
    assert 'damaged.pth: not a' in refused(call_tool, tool, config, *words, '--work-dir', tmp_path)


def test_training_refuses_to_start_from_weights_of_another_model(config, whole, call_tool,
                                                                 tmp_path):
    torch.save(dict(state_dict={'cls_head.fc.weight': torch.zeros(3)}), tmp_path / 'other.pth')
    command = ('train', config, '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1')
    text = refused(call_tool, *command, f'load_from={tmp_path / "other.pth"}')
    assert 'other.pth fills no weight of the model. Its first weight is cls_head.fc.weight' in text
    part = {name: value for name, value in load(whole / 'epoch_2.pth')['state_dict'].items()
            if name.startswith('neck.')}
    torch.save(dict(state_dict=part), tmp_path / 'part.pth')
    status, output, errors = call_tool(*command, f'load_from={tmp_path / "part.pth"}')
    assert status == 0 and 'the others keep their initial values, the first is head.' in output \
        + errors


@pytest.mark.parametrize('options, told', [
    (['load_from=absent.pth'], "load_from names the weights 'absent.pth', which do not exist"),
    (['model.neck.init_cfg.type=Pretrained', 'model.neck.init_cfg.checkpoint=absent.pth'],
     "model.neck.init_cfg.checkpoint names the weights 'absent.pth', which do not exist")])
def test_absent_weights_are_a_sentence(options, told, config, call_tool, tmp_path):
    text = refused(call_tool, 'train', config, '--work-dir', tmp_path, '--cfg-options', *options)
    assert told in text and '=None to start without it' in text


# ---------------------------------------------------------------- testing
def test_testing_refuses_another_number_of_classes(config, whole, call_tool, tmp_path):
    text = refused(call_tool, 'test', config, whole / 'epoch_4.pth', '--work-dir', tmp_path,
                   '--cfg-options', *THREE_CLASSES)
    assert 'weights of the model in another shape, the first is head.' in text


def test_testing_refuses_another_model(config, call_tool, tmp_path):
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(3)}), tmp_path / 'other.pth')
    text = refused(call_tool, 'test', config, tmp_path / 'other.pth', '--work-dir', tmp_path)
    assert 'lacks' in text and 'weights of the model, the first is' in text


def test_weights_that_may_be_absent_are_named(config, whole, call_tool, tmp_path):
    checkpoint = load(whole / 'epoch_4.pth')
    for name in [name for name in checkpoint['state_dict'] if name.startswith('neck.')]:
        del checkpoint['state_dict'][name]
    torch.save(checkpoint, tmp_path / 'part.pth')
    command = ('test', config, tmp_path / 'part.pth', '--work-dir', tmp_path)
    assert '--allow-missing' in refused(call_tool, *command)
    refused(call_tool, *command, '--allow-missing', 'head.*')
    status, output, errors = call_tool(*command, '--allow-missing', 'neck')
    assert status == 0, errors
    assert 'that may be absent' in output + errors


def test_weights_without_a_place_and_other_settings_are_named(config, whole, call_tool, tmp_path):
    checkpoint = load(whole / 'epoch_4.pth')
    checkpoint['state_dict']['neck.norms.9.weight'] = torch.ones(1)
    torch.save(checkpoint, tmp_path / 'more.pth')
    command = ('test', config, tmp_path / 'more.pth', '--work-dir', tmp_path)
    assert 'more.pth holds 1 weight (neck.norms.9.weight)' in refused(call_tool, *command)
    status, output, errors = call_tool(
        *command, '--allow-unused', 'neck.norms', '--cfg-options', 'model.head.norm_eps=0.5',
        'test_dataloader.dataset.num_frames=48')
    assert status == 0, errors
    text = output + errors
    assert 'model.head.norm_eps: not set in the checkpoint, 0.5 now' in text
    assert 'test_dataloader.dataset.num_frames: ' in text
