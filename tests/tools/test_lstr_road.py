"""From a checkpoint and the folders of LSTR's code to frame scores, by two commands."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lstr_folder import STREAMS, published_weights, write_folder
from mmengine.config import Config
from reference.sliding_windows import slide

from sbp_tad.apis import launch
from sbp_tad.apis.checkpoint_conversion import convert_checkpoint
from sbp_tad.apis.named_files import find_config
from sbp_tad.converters.conversion import convert
from sbp_tad.converters.lstr import head_sizes
from sbp_tad.evaluation.frame_scores import read_frame_scores
from sbp_tad.registry import DATASETS, MODELS

HEAD_SIZES = dict(num_classes=3, in_channels=10, channels=16, feedforward_channels=24)


@pytest.fixture
def published(tmp_path):
    """A checkpoint as LSTR's code saves it."""
    path = tmp_path / 'epoch-25.pth'
    torch.save(dict(epoch=25, model_state_dict=published_weights(), optimizer_state_dict={}), path)
    return path


def test_the_names_of_the_checkpoint_are_the_published_ones(shared_data):
    shapes = json.loads((shared_data / 'parity' / 'tiny_shapes.json').read_text())['lstr']
    drawn = published_weights(in_channels=2048, columns=22)
    assert shapes == {name: list(value.shape) for name, value in drawn.items()
                      if name in shapes} and set(drawn) - set(shapes) <= {'pos_encoding.pe'}


def test_the_config_that_fits_is_written_and_the_weights_go_back(published, tmp_path, call_tool):
    out = tmp_path / 'converted.pth'
    status, printed, notes = call_tool('convert_checkpoint', 'lstr', published, out)
    assert not status, notes
    assert 'weights of lstr (model_state_dict), none unknown, none missing, 1 left out' in printed
    assert 'classes are unknown' not in notes  # data_info.json names them
    head = Config.fromfile(out.with_suffix('.py')).model.head
    assert {name: head[name] for name in HEAD_SIZES} == HEAD_SIZES
    assert (head.windows, head.history_from, head.memory_frames) == ('sliding', 'oldest', 512)
    back = tmp_path / 'back.pth'
    status, _, notes = call_tool('convert_checkpoint', 'lstr', out, back, '--back', published)
    assert not status, notes
    theirs, found = (torch.load(path)['model_state_dict'] for path in (published, back))
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in theirs)


def test_the_streams_follow_from_the_width_of_the_weights(tmp_path, call_tool):
    path, out = tmp_path / 'epoch-25.pth', tmp_path / 'converted.pth'
    torch.save(dict(model_state_dict=published_weights(in_channels=4096, columns=22)), path)
    assert not call_tool('convert_checkpoint', 'auto', path, out)[0]
    cfg = Config.fromfile(out.with_suffix('.py'))
    for loader in ('train_dataloader', 'test_dataloader'):
        assert tuple(cfg[loader].dataset.streams) == ('rgb_anet_resnet50', 'flow_anet_resnet50')
    assert cfg.model.head.in_channels == 4096


def test_the_recipe_follows_from_the_columns_of_the_classifier(tmp_path):
    path = tmp_path / 'epoch-25.pth'
    for columns, name, head in ((31, 'tvseries', (30, False)), (22, 'thumos14', (20, True))):
        torch.save(dict(model_state_dict=published_weights(columns=columns)), path)
        converted = convert_checkpoint(path)
        assert Path(converted.config).stem == f'lstr_kinetics-features_512s+32_{name}'
        settings = launch.load_config(converted.config).model.head
        assert (converted.changes['head']['num_classes'],
                settings.has_ambiguous_class) == head


def windows_encoded_anew(head, features):
    """Scores (n, 1 + classes) of a video (1, C, n), each frame the last of its window of 32."""
    def score_last(history, working):
        mask = torch.tensor([[frame is not None for frame in history]])
        frames = [frame or 0 for frame in history]
        return head.predict(features[:, :, frames], mask, features[:, :, working])[0, -1]

    return torch.stack(slide(score_last, 32, features.shape[2], 512, 4, 'oldest'))


def test_the_converted_detector_scores_the_published_folders(published, tmp_path):
    cfg = launch.load_config(find_config('lstr_kinetics-features_512s+32_thumos14'))
    weights = convert(torch.load(published)).weights
    cfg.model.head.update(head_sizes(weights, True))
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(weights)
    cfg.test_dataloader.dataset.data_root = str(write_folder(tmp_path / 'set'))
    item = DATASETS.build(cfg.test_dataloader.dataset)[0]
    sample, = model.val_step({name: [value] for name, value in item.items()})
    expected = windows_encoded_anew(model.head, item['inputs'][None])
    torch.testing.assert_close(sample.pred_scores, expected, rtol=0, atol=1e-5)
    assert expected.shape == (41, 4) and expected.std(dim=0).min() > 1e-3


@pytest.mark.slow
def test_two_commands_lead_to_the_scores_of_every_frame(published, tmp_path, call_tool):
    out, folder = tmp_path / 'converted.pth', write_folder(tmp_path / 'set')
    call_tool('convert_checkpoint', 'lstr', published, out)
    data = [f'{loader}_dataloader.{option}' for loader in ('train', 'val', 'test') for option in
            (f'dataset.data_root={folder}', 'num_workers=0', 'persistent_workers=False')]
    status, printed, notes = call_tool('test', out.with_suffix('.py'), out, '--work-dir',
                                       tmp_path / 'work', '--cfg-options', *data)
    assert not status, notes
    file, = (tmp_path / 'work').rglob('frame_scores.npz')
    found = read_frame_scores(file)
    assert found.video_names == ('test_a', 'test_b') and found.video_lengths.tolist() == [41, 5]
    assert found.class_names == ('jump', 'throw', 'run') and found.targets[3, -1]
    head = MODELS.build(Config.fromfile(out.with_suffix('.py')).model).head.eval()
    head.load_state_dict({name.removeprefix('head.'): value
                          for name, value in torch.load(out)['state_dict'].items()})
    streams = [np.load(folder / name / 'test_a.npy') for name in STREAMS]
    features = torch.from_numpy(np.concatenate(streams, axis=1)).T[None]
    np.testing.assert_allclose(found.scores[:41, :4], windows_encoded_anew(head, features),
                               atol=1e-5)
