"""Lists of clips that do not fit their data set end in one sentence, before training."""
from __future__ import annotations

import pytest
from mmengine.config import Config

from sbp_tad.apis.config.clip_lists import check_clip_lists
from sbp_tad.errors import ConfigError


def video_config(tmp_path, text, num_classes=5, readers=('DecordInit', 'DecordDecode'), **dataset):
    path = tmp_path / 'list.txt'
    path.write_text(text)
    dataset = dict(type='VideoDataset', ann_file=str(path), data_prefix=dict(video=str(tmp_path)),
                   pipeline=[dict(type=reader) for reader in readers], **dataset)
    return Config(dict(model=dict(cls_head=dict(num_classes=num_classes)),
                       train_dataloader=dict(dataset=dict(
                           type='RepeatDataset', times=2, dataset=dataset))))


def frame_config(tmp_path, text, num_classes=5, readers=('RawFrameDecode', ), **dataset):
    (tmp_path / 'v0').mkdir()
    (tmp_path / 'v0/img_00001.jpg').write_bytes(b'')
    cfg = video_config(tmp_path, text, num_classes, readers, **dataset)
    cfg.train_dataloader.dataset.dataset.update(
        type='RawframeDataset', data_prefix=dict(img=str(tmp_path)))
    return cfg


KEY = r'^train_dataloader\.dataset\.dataset\.ann_file: '


@pytest.mark.parametrize('text, dataset', [
    ('a.mp4 0\nb.mp4 4\n', {}), ('a b.mp4,0\n', dict(delimiter=',')),
    ('a.mp4 0 4\n', dict(multi_class=True))])
def test_lists_of_videos_that_fit(text, dataset, tmp_path):
    check_clip_lists(video_config(tmp_path, text, **dataset), 'train')


@pytest.mark.parametrize('text, dataset', [
    ('v0 8 0\n', {}), ('v0 0 8 0\n', dict(with_offset=True)),
    ('v0 8 0 4\n', dict(multi_class=True))])
def test_lists_of_frames_that_fit(text, dataset, tmp_path):
    check_clip_lists(frame_config(tmp_path, text, **dataset), 'train')


@pytest.mark.parametrize('text, sentence', [
    ('a.mp4 0\nv0 8 0\n', 'line 2 of .* is \'v0 8 0\'; .*"video label" .*needs RawframeDataset'),
    ('a.mp4 0\n\n', 'line 2 of'),
    ('a.mp4\n', 'it has no label'),
    ('a.mp4 run\n', "'run' is not a whole number"),
    ('a.mp4 5\n', 'label 5 is none of the 5 classes of model.cls_head.num_classes, 0 to 4'),
    ('a.mp4 -1\n', 'label -1 is none'),
    ('', 'is empty')])
def test_lists_of_videos_that_do_not_fit(text, sentence, tmp_path):
    with pytest.raises(ConfigError, match=KEY + f'.*{sentence}'):
        check_clip_lists(video_config(tmp_path, text), 'train')


@pytest.mark.parametrize('text, sentence', [
    ('a.mp4 0\n', 'it has no label; .*VideoDataset'),
    ('v0 8 0 1\n', "line 1 of .*'v0 8 0 1'; RawframeDataset reads lines \"folder frames label\""),
    ('v0\n', 'RawframeDataset reads lines'),
    ('v0 8 9\n', 'label 9 is none of the 5')])
def test_lists_of_frames_that_do_not_fit(text, sentence, tmp_path):
    with pytest.raises(ConfigError, match=KEY + f'.*{sentence}'):
        check_clip_lists(frame_config(tmp_path, text), 'train')


def test_an_absent_list_names_the_key(tmp_path):
    cfg = video_config(tmp_path, 'a.mp4 0')
    cfg.train_dataloader.dataset.dataset.ann_file = 'data/absent.txt'
    with pytest.raises(ConfigError, match=KEY + 'there is no file data/absent.txt'):
        check_clip_lists(cfg, 'train')


def test_frames_that_are_elsewhere_or_called_otherwise(tmp_path):
    cfg = frame_config(tmp_path, 'v0 8 0\n', filename_tmpl='frame_{:010}.jpg')
    with pytest.raises(ConfigError, match=r'filename_tmpl: .*frame_0000000001.jpg in .*'
                                          r"holds \['img_00001.jpg'\]"):
        check_clip_lists(cfg, 'train')
    cfg.train_dataloader.dataset.dataset.data_prefix = dict(img='elsewhere')
    with pytest.raises(ConfigError, match=r'data_prefix.img: there is no folder elsewhere/v0'):
        check_clip_lists(cfg, 'train')


@pytest.mark.parametrize('make, readers, sentence', [
    (frame_config, ('DecordInit', 'DecordDecode'), 'DecordInit opens videos. Use RawFrameDecode'),
    (video_config, ('RawFrameDecode', ), 'VideoDataset lists videos, but RawFrameDecode')])
def test_pipelines_that_read_the_other_kind(make, readers, sentence, tmp_path):
    with pytest.raises(ConfigError, match=rf'dataset\.pipeline: .*{sentence}'):
        check_clip_lists(make(tmp_path, 'v0 8 0\n', readers=readers), 'train')


def test_clips_without_labels_may_be_tested_where_nothing_is_scored(tmp_path):
    cfg = video_config(tmp_path, 'a.mp4\n')
    cfg.test_dataloader = cfg.train_dataloader
    cfg.test_evaluator = dict(type='DumpResults', out_file_path='a.pkl')
    check_clip_lists(cfg, 'test')
    cfg.test_evaluator = [dict(type='AccMetric')]
    with pytest.raises(ConfigError, match=r'^test_dataloader.*no label'):
        check_clip_lists(cfg, 'test')


def test_audio_features_that_are_all_absent_would_be_silence(tmp_path):
    (tmp_path / 'sounds.txt').write_text('a.npy 64 0\nb.npy 64 1\n')
    dataset = dict(type='AudioDataset', ann_file='sounds.txt', data_root=str(tmp_path),
                   data_prefix=dict(audio='sounds'))
    cfg = Config(dict(model=dict(), train_dataloader=dict(dataset=dataset)))
    with pytest.raises(ConfigError, match='data_prefix.audio: none of the 2 files .*sounds/a.npy'):
        check_clip_lists(cfg, 'train')
    (tmp_path / 'sounds').mkdir()
    (tmp_path / 'sounds/b.npy').touch()
    check_clip_lists(cfg, 'train')  # mmaction2 allows videos without sound
