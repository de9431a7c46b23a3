"""Checks of data and model that need no files: batches, labels of recognizers, wrappers."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmaction.datasets import VideoDataset
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch import nn
from torch.utils.data import DataLoader, Dataset

import sbp_tad.models  # noqa: F401, registers all components
from sbp_tad.engine.start_checks import (
    StartChecksHook,
    check_batches,
    check_before_run,
    check_classes,
    check_task,
    largest_label,
    leaves,
)
from sbp_tad.errors import ConfigError
from sbp_tad.registry import DATASETS, MODELS


class Labelled(Dataset):
    """Items of a recognizer's data set."""

    ann_file, metainfo = 'list.txt', {}

    def __init__(self, *labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return index

    def full_init(self):
        pass

    def get_data_info(self, index):
        return dict(label=self.labels[index])


@pytest.mark.parametrize('labels, expected', [
    ((0, 4, 2), 4), (([1, 7], [2]), 7), ((-1, -1), -1), ((), None), ((None,), None),
    (('a', 'b'), None)])
def test_largest_label(labels, expected):
    assert largest_label(Labelled(*labels)) == expected
    assert largest_label(object()) is None


def model(num_classes):
    found = nn.Module()
    found.cls_head = SimpleNamespace(num_classes=num_classes)
    return found


def test_labels_beyond_the_head_of_a_recognizer():
    check_classes(model(5), 'train', Labelled(0, 4))
    check_classes(model(99), 'train', Labelled(0, 4))
    check_classes(nn.Module(), 'train', Labelled(0, 4))
    with pytest.raises(ConfigError, match='model.cls_head.num_classes is 4, but val_dataloader has '
                       'the label 4 in list.txt.*num_classes=5 or more'):
        check_classes(model(4), 'val', Labelled(0, 4))


TAIL = [dict(type='FormatShape', input_format='NCTHW')]
BACKBONE = dict(type='SBPBackbone', clip_len=1, backbone=dict(type='FrameCNN', channels=32))
OFFLINE = dict(type='TemporalDetector', backbone=BACKBONE,
               head=dict(type='SegmentationHead', num_classes=1, in_channels=32))
ONLINE = dict(type='OnlineActionDetector', backbone=BACKBONE,
              head=dict(type='GRUHead', num_classes=1, in_channels=32))
RECOGNIZER = dict(type='mmaction.Recognizer2D', backbone=dict(type='FrameCNN', channels=32),
                  cls_head=dict(type='mmaction.TSNHead', num_classes=1, in_channels=32))


def windows(task):
    """Return a data set of offline (TAD) or online detection."""
    name = dict(TAD='TemporalDetectionDataset', Online='OnlineDetectionDataset')[task]
    return DATASETS.build(dict(
        type=name, ann_file='none.json', num_frames=8, stride_frames=1, lazy_init=True,
        pipeline=[dict(type='SampleWindow' if task == 'TAD' else 'SampleOnlineWindow'),
                  dict(type='PyAVSeekDecode'), *TAIL, dict(type=f'Pack{task}Inputs')]))


@pytest.mark.parametrize('config, data, fault', [
    (OFFLINE, 'TAD', None), (ONLINE, 'Online', None), (RECOGNIZER, 'clips', None),
    (OFFLINE, 'Online', 'type is TemporalDetector, but val_dataloader.dataset.type is OnlineDet'),
    (ONLINE, 'TAD', 'Set val_dataloader.dataset.type to OnlineDetectionDataset, or a data set'),
    (OFFLINE, 'clips', 'VideoDataset, which is of another task'),
    (RECOGNIZER, 'TAD', 'to a data set of trimmed clips, for example VideoDataset, or another'),
])
def test_data_of_another_task(config, data, fault):
    dataset = VideoDataset('none.txt', pipeline=[], lazy_init=True) if data == 'clips' \
        else windows(data)
    network = MODELS.build({'_scope_': 'sbp_tad', **config})
    if fault is None:
        check_task(network, 'val', dataset)
    else:
        with pytest.raises(ConfigError, match=fault):
            check_task(network, 'val', dataset)


def test_the_packing_of_another_task():
    dataset = windows('Online')
    dataset.pipeline = windows('TAD').pipeline
    with pytest.raises(ConfigError, match='pipeline ends with PackTADInputs, but model.type Online'
                       'ActionDetector needs PackOnlineInputs'):
        check_task(MODELS.build(ONLINE), 'val', dataset)


def test_wrappers_are_looked_into():
    one, two = Labelled(1), Labelled(2)
    both = SimpleNamespace(datasets=[one, SimpleNamespace(dataset=two)])
    assert list(leaves(both)) == [one, two]


@pytest.mark.parametrize('batch_size, drop_last, sampler, works', [
    (3, True, DefaultSampler, True), (4, False, DefaultSampler, True),
    (4, True, InfiniteSampler, True), (4, True, DefaultSampler, False)])
def test_an_epoch_without_a_batch(batch_size, drop_last, sampler, works):
    data = Labelled(1, 2, 3)
    loader = DataLoader(data, batch_size, sampler=sampler(data), drop_last=drop_last)
    if works:
        check_batches(loader)
    else:
        with pytest.raises(ConfigError, match='batch_size is 4, but each process has only 3'):
            check_batches(loader)


def test_the_checks_are_added_once():
    hooks = []
    runner = SimpleNamespace(hooks=hooks, build_train_loop=None, register_hook=hooks.append)
    check_before_run(runner)
    check_before_run(runner)
    assert [type(hook) for hook in hooks] == [StartChecksHook]
