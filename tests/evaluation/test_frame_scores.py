"""The file of frame scores: what is written is read, what is wrong is said."""
import pickle

import numpy as np
import pytest
from frame_score_cases import frame_scores

from sbp_tad.evaluation.errors import EvaluationError
from sbp_tad.evaluation.frame_scores import FrameScores, read_frame_scores, write_frame_scores


@pytest.mark.parametrize('names', [True, False])
def test_what_is_written_is_read(tmp_path, names):
    frames = frame_scores(names=names)
    write_frame_scores(tmp_path / 'frames.npz', frames)
    found = read_frame_scores(tmp_path / 'frames.npz')
    assert found.scores.dtype == np.float32 and (found.scores == frames.scores).all()
    assert (found.targets == frames.targets).all()
    assert (found.video_names, found.class_names) == (frames.video_names, frames.class_names)
    assert found.video_lengths.tolist() == [30, 0, 41]


def test_smoothing_stops_at_the_ends_of_a_video():
    frames = frame_scores(lengths=(4, 0, 3), num_classes=1)
    frames.scores[:] = 0
    frames.scores[3] = 1
    assert frames.smoothed().scores[:, 1].tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert frames.scores.sum() == 3  # the original is as it was


def arrays(**changes):
    frames = frame_scores()
    plain = dict(scores=frames.scores, targets=frames.targets.astype(np.uint8),
                 video_names=np.array(frames.video_names), video_lengths=frames.video_lengths)
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


@pytest.mark.parametrize('changes, message', [
    (dict(targets=None), r'expected the arrays scores, targets, .*, targets missing among'),
    (dict(scores=np.zeros((71, 4), np.float32)), r'must both be .*, got \(71, 4\) and \(71, 5\)'),
    (dict(scores=np.full((71, 5), np.nan, np.float32)), 'Scores must be finite; those of frame 0'),
    (dict(scores=np.zeros((71, 5), 'U3')), 'scores cannot be of type <U3'),
    (dict(targets=np.full((71, 5), 2)), 'targets must be 0 or 1'),
    (dict(targets=np.full((71, 5), np.nan)), 'targets must be 0 or 1'),
    (dict(video_lengths=np.array([30, 41])), r'each of the 3 video_names, .* got 2 lengths'),
    (dict(video_lengths=np.array([30, 1, 41])), 'with the sum 71; got 3 lengths with the sum 72'),
    (dict(video_lengths=np.array([31, -1, 41])), 'number of frames of each of the 3 video_names'),
    (dict(video_lengths=np.array([30.0, 0, 41])), 'video_lengths cannot be of type float64'),
    (dict(video_names=np.array(['v0', 'v1', 'v0'])), 'video_names, which must differ'),
    (dict(video_names=np.array([['v0', 'v1', 'v0']])), r'must be a list, got shape \(1, 3\)'),
    (dict(class_names=np.array(['Background', 'a', 'Ambiguous'])), '3 classes .* got 1 class name'),
    (dict(video_names=np.array(['v0', 'v1', None])), 'pickled objects are never loaded'),
])
def test_a_file_that_is_wrong_is_named(tmp_path, changes, message):
    path = tmp_path / 'frames.npz'
    np.savez(path, **arrays(**changes))
    with pytest.raises(EvaluationError, match=f'{path}.*{message}'):
        read_frame_scores(path)


@pytest.mark.parametrize('content, message', [
    (b'', 'cannot be read as .npz file'),
    (b'PK\x03\x04 but no archive', 'cannot be read as .npz file'),
    (pickle.dumps(dict(scores=1)), 'is not an .npz file of plain arrays'),
    (b'text', 'is not an .npz file of plain arrays'),
])
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'frames.npz'
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=message):
        read_frame_scores(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / 'frames.npz'
    write_frame_scores(path, frame_scores())
    content = bytearray(path.read_bytes())
    content[60:160] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match='cannot be read as .npz file|no .npz file'):
        read_frame_scores(path)


def test_a_single_array_and_no_file_are_refused(tmp_path):
    np.save(tmp_path / 'one.npy', np.zeros((3, 4)))
    with pytest.raises(EvaluationError, match='one.npy holds a single array, expected an .npz'):
        read_frame_scores(tmp_path / 'one.npy')
    with pytest.raises(EvaluationError, match='none.npz: no such file of frame scores'):
        read_frame_scores(tmp_path / 'none.npz')
    with pytest.raises(EvaluationError, match='Cannot write the frame scores to .*: No such file'):
        write_frame_scores(tmp_path / 'none' / 'frames.npz', frame_scores())


def test_too_few_columns_are_no_frame_scores():
    with pytest.raises(EvaluationError, match=r'\+ classes \+ ambiguous\), got \(1, 2\)'):
        FrameScores(np.zeros((1, 2)), np.zeros((1, 2), bool), ('v',), np.array([1]))
