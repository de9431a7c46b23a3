"""Annotations of EPIC-Kitchens to ActivityNet's form and back through the reader."""
from __future__ import annotations

import pytest

from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.formats.epic_kitchens import read_epic

EPIC = '''\
narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,\
start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes
P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,\
['door'],[3]
P01_01_1,P01,P01_01,00:00:02.629,00:00:04.37,00:01:06.17,262,370,"turn on light, left",turn-on,6,\
light,114,"['light', 'left']","[114, 2]"
P02_03_0,P02,P02_03,00:00:00.500,01:00:00.00,01:00:01.50,1,2,open tap,open,3,tap,0,['tap'],[0]
'''
VERBS = '''\
id,key,instances,category
3,open,"['open', 'unlock']",access
6,turn-on,[],manipulate
'''
INFO = 'video_id,duration,fps,resolution\nP01_01,1652.152817,59.94,1920x1080\n'


@pytest.mark.parametrize('label, labels', [
    ('verb', ('3', '6')), ('noun', ('3', '114')), ('action', ('3,3', '6,114'))])
def test_epic_round_trip(write, back, label, labels):
    videos = back(read_epic(write(EPIC, 'e.csv'), label, video_info=write(INFO, 'info.csv')))
    first, second = videos['P01_01'], videos['P02_03']
    assert first.labels == labels
    assert first.segments_seconds.tolist() == [[0.14, 3.37], [4.37, 66.17]]
    assert (first.fps, first.duration_seconds) == (59.94, 1652.152817)
    assert (second.fps, second.segments_seconds.tolist()) == (None, [[3600, 3601.5]])


def test_epic_class_names(write, back):
    videos = back(read_epic(write(EPIC, 'e.csv'), class_names=write(VERBS, 'verbs.csv')))
    assert videos['P01_01'].labels == ('open', 'turn-on')
    with pytest.raises(DatasetError, match="line 3: class '114' is not in .*verbs.csv"):
        list(read_epic(write(EPIC, 'e.csv'), 'noun', write(VERBS, 'verbs.csv')))


@pytest.mark.parametrize('text, options, message', [
    (EPIC, dict(label='food'), 'label must be one of'),
    (EPIC, dict(label='action', class_names='x.csv'), 'the last one without class names'),
    (EPIC.replace('verb_class', 'v'), {}, r"line 1: the columns \['verb_class'\] are absent"),
    (EPIC.replace('00:00:04.37', '4s'), {}, "line 3: expected seconds .* got '4s'"),
])
def test_epic_faults(write, text, options, message):
    with pytest.raises(DatasetError, match=message):
        list(read_epic(write(text, 'e.csv'), **options))


def test_a_table_that_was_saved_with_semicolons(write, back):
    text = ('video_id;start_timestamp;stop_timestamp;verb_class\n'
            'P01_01;00:00:01.00;00:00:02.50;3\n')
    assert back(read_epic(write(text, 'e.csv')))['P01_01'].labels == ('3',)
