"""Checks of data and model that need no files: batches, labels of recognizers, wrappers."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sbp_tad.engine.start_checks import check_batches, check_classes, largest_label, leaves
from sbp_tad.errors import ConfigError


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
