"""BMN, BSN and TCANet give the same behind our dataset as behind that of mmaction2, bit for bit."""
from __future__ import annotations

import json
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from mmaction_cases import write_features
from mmengine.registry import DefaultScope

from sbp_tad.annotations import read_annotations
from sbp_tad.apis.checkpoints import load_weights, read_checkpoint
from sbp_tad.checkpoint_safety import CheckpointError
from sbp_tad.datasets import ActivityNetDataset, LocalizerInputs
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.mmaction2 import read_mmaction2
from sbp_tad.datasets.formats.rows import to_database
from sbp_tad.registry import DATASETS, MODELS

NMS = dict(soft_nms_alpha=0.4, soft_nms_low_threshold=0.5, soft_nms_high_threshold=0.9,
           post_process_top_k=20)
NETWORKS = dict(
    BMN=dict(temporal_dim=20, boundary_ratio=0.5, num_samples=8, num_samples_per_bin=3,
             feat_dim=16, hidden_dim_1d=16, hidden_dim_2d=8, hidden_dim_3d=24, **NMS),
    TEM=dict(temporal_dim=20, boundary_ratio=0.1, tem_feat_dim=16, tem_hidden_dim=16,
             tem_match_threshold=0.5),
    PEM=dict(pem_feat_dim=32, pem_hidden_dim=16, pem_u_ratio_m=1, pem_u_ratio_l=2,
             pem_high_temporal_iou_threshold=0.6, pem_low_temporal_iou_threshold=0.2, **NMS),
    TCANet=dict(temporal_dim=20, feat_dim=16, se_sample_num=8, action_sample_num=16, window_size=3,
                lgte_num=1, feature_extraction_interval=16, **NMS))
META = ('video_name', 'duration_second', 'duration_frame', 'annotations', 'feature_frame')
KEYS = dict(PEM=('tmin', 'tmax', 'tmin_score', 'tmax_score', 'bsp_feature'),
            TCANet=('gt_bbox', 'proposals'))


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmaction'):
        yield


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Features, proposals and annotation of mmaction2."""
    return write_features(tmp_path_factory.mktemp('localizer'))


@pytest.fixture(scope='module')
def annotation(folder):
    """That annotation in our form."""
    out = folder / 'ours.json'
    out.write_text(json.dumps(to_database(read_mmaction2(folder / 'features.json'), 'validation')))
    return out


def pipeline(name, folder):
    """Return the transforms of mmaction2 behind the reader of features."""
    proposals = [dict(type='LoadProposals', top_k=20, pgm_proposals_dir=folder / 'pgm_proposals',
                      pgm_features_dir=folder / 'pgm_features')] if name == 'PEM' else []
    return [*proposals, dict(type='GenerateLocalizationLabels'), dict(
        type='PackLocalizationInputs', keys=KEYS.get(name, ('gt_bbox', )), meta_keys=META)]


def theirs(name, folder):
    return DATASETS.build(dict(
        type='mmaction.ActivityNetDataset', ann_file=str(folder / 'features.json'), test_mode=True,
        data_prefix=dict(video=str(folder / 'csv')),
        pipeline=[dict(type='LoadLocalizationFeature'), *pipeline(name, folder)]))


def ours(name, folder, annotation):
    extra = dict(proposal_file=str(folder / 'features.json')) if name == 'TCANet' else {}
    return ActivityNetDataset(
        str(annotation), num_frames=20, test_mode=True, metainfo=dict(classes=['throw']),
        data_prefix=dict(features=str(folder / 'csv')), filename_template='v_{video_id}.csv',
        source=dict(cover='resize', num_channels=16),
        pipeline=[dict(type='LoadFeatures'), dict(type='LocalizerInputs', **extra),
                  *(dict(each, _scope_='mmaction') for each in pipeline(name, folder))])


def network(name):
    torch.manual_seed(0)
    return MODELS.build(dict(type=f'mmaction.{name}', **NETWORKS[name])).eval()


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


# of TCANet, which leaves the alignment of its samples to torch
@pytest.mark.filterwarnings('ignore:Default grid_sample')
@pytest.mark.parametrize('name', NETWORKS)
def test_outputs_equal_those_behind_mmaction2(name, folder, annotation):
    model, first, second = network(name), theirs(name, folder), ours(name, folder, annotation)
    assert len(first) == len(second) == 4
    for index in range(2):
        expected, found = first[index], second[index]
        if name != 'PEM':  # whose inputs are proposals; mmaction2 reads the features too
            assert torch.equal(expected['inputs'], found['inputs'])
        samples = [item['data_samples'] for item in (expected, found)]
        for key in KEYS.get(name, ('gt_bbox', )):
            one, two = (sample.get(key, sample.gt_instances.get(key)) for sample in samples)
            assert torch.equal(*(value.get(key) if hasattr(value, 'get') else value
                                 for value in (one, two)))
        with torch.no_grad():
            results = [model([item['inputs']], [deepcopy(item['data_samples'])],
                             mode='predict') for item in (expected, found)]
        assert same(*results) and len(results[0])


@pytest.mark.parametrize('name', NETWORKS)
def test_a_published_checkpoint_loads(name, tmp_path):
    """Of mmaction 0.x: a state dict beside text about the training."""
    source, path = network(name), tmp_path / 'published.pth'
    torch.save(dict(meta=dict(mmaction_version='0.24.1', config='x = 1'), optimizer={},
                    state_dict=source.state_dict()), path)
    torch.manual_seed(1)
    target = MODELS.build(dict(type=f'mmaction.{name}', **NETWORKS[name]))
    load_weights(target, read_checkpoint(path), path)
    state = target.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in source.state_dict().items())
    content = read_checkpoint(path)
    content['state_dict'].popitem()
    with pytest.raises(CheckpointError, match='lacks 1 weight of the model'):
        load_weights(target, content, path)


def test_the_annotation_of_mmaction2_becomes_ours(folder, annotation):
    videos = read_annotations(annotation, 'validation')
    assert list(videos) == [f'toy{number}' for number in range(4)]
    assert (videos['toy1'].num_frames, videos['toy1'].duration_seconds) == (600, 20.0)
    assert videos['toy1'].segments_seconds.tolist() == [[5.0, 13.0]]


@pytest.mark.parametrize('content, told', [
    ([], 'expected an object of videos, got list'),
    ({'v_a': dict(duration_second=1)}, 'v_a has no duration_frame, annotations; expected videos')])
def test_another_layout_is_refused(content, told, tmp_path):
    (tmp_path / 'in.json').write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=told):
        list(read_mmaction2(tmp_path / 'in.json'))


def test_what_the_localizers_lack_is_named(folder, annotation, tmp_path):
    video = read_annotations(annotation)['toy0']
    bare = partial(type(video), 'toy0', 'validation')
    item = dict(features=np.zeros((16, 20), np.float32), annotation=video)
    with pytest.raises(DatasetError, match='toy0: the annotation needs a duration, and frames or'):
        LocalizerInputs()(dict(item, annotation=bare(
            20.0, None, None, video.segments_seconds, video.labels)))
    found = LocalizerInputs()(dict(item, annotation=bare(
        20.0, 29.97, None, video.segments_seconds, video.labels)))
    assert (found['duration_frame'], found['feature_frame']) == (599, 592)
    (tmp_path / 'proposals.json').write_text('{"v_other": {}}')
    with pytest.raises(DatasetError, match='proposals.json: there are no proposals of v_toy0'):
        LocalizerInputs(proposal_file=str(tmp_path / 'proposals.json'))(dict(item))
