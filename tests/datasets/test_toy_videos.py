"""The toy dataset: what its videos do, what is written and when it is written again."""
import hashlib
import json
from dataclasses import asdict, replace

import av
import numpy as np
import pytest

from sbp_tad.annotations import read_annotations
from sbp_tad.datasets.errors import DatasetError
from sbp_tad.datasets.toy_videos import CLASS_NAMES, ToySettings, build_toy_dataset
from sbp_tad.datasets.toy_videos import build as build_module
from sbp_tad.datasets.toy_videos.build import is_complete, write_video
from sbp_tad.datasets.toy_videos.looks import LOOKS, SPRITE_PIXELS, TEXTURE_PIXELS
from sbp_tad.datasets.toy_videos.motion import (
    ACTION_SECONDS,
    MIN_VIDEO_SECONDS,
    SWEEP_PERIOD_SECONDS,
    TURN_RADIANS_PER_SECOND,
    ActorTrack,
    draw_track,
    plan_lives,
)
from sbp_tad.datasets.toy_videos.scene import draw_frames, paste

FPS = 12
TINY = ToySettings(train_videos=2, test_videos=1, size=32, min_seconds=5, max_seconds=9)


def plan(seed, seconds=40):
    rng = np.random.default_rng(seed)
    lives = plan_lives(rng, seconds * FPS, FPS)
    return lives, draw_track(rng, lives, seconds * FPS, FPS)


@pytest.fixture(scope='module')
def many_plans():
    return [plan(seed) for seed in range(300)]


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    assert build_toy_dataset(folder, TINY, workers=2)
    return folder


def actions_of(plans, label):
    return [(life, track) for lives, track in plans for life in lives if life.label == label]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def test_actions_last_1_to_8_seconds_and_lie_apart(many_plans):
    for lives, _ in many_plans:
        actions = [life for life in lives if life.label is not None]
        assert 2 <= len(actions) <= 12
        for life in actions:
            seconds = (life.action_end - life.action_start) / FPS
            assert ACTION_SECONDS[0] <= seconds <= ACTION_SECONDS[1]
        for one, other in zip(actions, actions[1:]):
            assert (other.action_start - one.action_end) / FPS >= 0.7


def test_lives_are_ordered_and_inside_the_video(many_plans):
    for lives, _ in many_plans:
        ends = [0]
        for life in lives:
            assert ends[-1] <= life.start <= life.action_start <= life.action_end <= life.end
            ends.append(life.end)
        assert ends[-1] <= 40 * FPS


def test_actor_is_in_full_view_during_actions_and_also_idles(many_plans):
    idle_frames = 0
    for lives, track in many_plans:
        acting = np.zeros(len(track.opacity), bool)
        for life in lives:
            if life.label is not None:
                acting[life.action_start:life.action_end] = True
        assert (track.opacity[acting] == 1).all()
        idle_frames += ((track.opacity == 1) & ~acting).sum()
    total = sum(len(track.opacity) for _, track in many_plans)
    assert idle_frames / total > 0.3  # that it is there does not tell that it acts


@pytest.mark.parametrize('seed', range(20))
def test_shortest_video_holds_an_action(seed):
    num_frames = int(np.ceil(MIN_VIDEO_SECONDS * FPS))
    lives = plan_lives(np.random.default_rng(seed), num_frames, FPS)
    assert sum(life.label is not None for life in lives) == 1


def test_classes_are_balanced(many_plans):
    counts = [len(actions_of(many_plans, label)) for label in CLASS_NAMES]
    assert max(counts) - min(counts) < 0.2 * np.mean(counts)


@pytest.mark.parametrize('label, sign', [('turn_clockwise', 1), ('turn_counterclockwise', -1)])
def test_turning_has_its_direction_and_speed(many_plans, label, sign):
    for life, track in actions_of(many_plans, label):
        turned = track.angle[life.action_end - 1] - track.angle[life.action_start]
        speed = sign * turned * FPS / (life.action_end - life.action_start - 1)
        sway = np.radians(20)
        low, high = TURN_RADIANS_PER_SECOND
        assert low - sway <= speed <= high + sway


@pytest.mark.parametrize('label, sign', [('approach', 1), ('recede', -1)])
def test_size_changes_by_a_factor_in_its_direction(many_plans, label, sign):
    for life, track in actions_of(many_plans, label):
        ratio = track.radius[life.action_end - 1] / track.radius[life.action_start]
        assert ratio ** sign > 1.9


@pytest.mark.parametrize('label, axis', [('sweep_horizontal', 0), ('sweep_vertical', 1)])
def test_sweep_goes_there_and_back_along_its_axis_only(many_plans, label, axis):
    for life, track in actions_of(many_plans, label):
        path = track.center[life.action_start:life.action_end + 1]
        spans = np.ptp(path, axis=0)
        assert spans[axis] > 0.3 and spans[1 - axis] < 0.05
        assert abs(path[0, axis] - path[-1, axis]) < 0.06
        seconds = (life.action_end - life.action_start) / FPS
        rounds = max(1, round(seconds / SWEEP_PERIOD_SECONDS[1]))
        turns = (np.diff(np.sign(np.diff(path[:, axis]))) != 0).sum()
        assert turns >= 2 * rounds - 1  # one is lost where it starts at an end


def test_idling_is_far_slower_than_any_action(many_plans):
    for lives, track in many_plans:
        for life in lives:
            if life.label is None and life.end - life.start > 2:
                idle = slice(life.start, life.end)
                assert np.abs(np.diff(track.angle[idle])).max() * FPS < np.radians(20)
                assert np.abs(np.diff(track.center[idle], axis=0)).max() * FPS < 0.05
                assert np.abs(np.diff(np.log(track.radius[idle]))).max() * FPS < 0.06


@pytest.mark.parametrize('quantity', ['x', 'y', 'log_radius', 'angle'])
def test_a_single_frame_of_an_action_tells_no_class(many_plans, quantity):
    """Over frames, every class has the quartiles of every other one."""
    take = {'x': lambda track: track.center[:, 0], 'y': lambda track: track.center[:, 1],
            'log_radius': lambda track: np.log(track.radius),
            'angle': lambda track: track.angle % (2 * np.pi)}[quantity]
    quartiles, spreads = [], []
    for label in CLASS_NAMES:
        values = np.concatenate([
            take(track)[np.linspace(life.action_start, life.action_end - 1, 40).astype(int)]
            for life, track in actions_of(many_plans, label)])  # each action counts alike
        quartiles.append(np.quantile(values, [0.25, 0.5, 0.75]))
        spreads.append(np.ptp(values))
    assert np.ptp(quartiles, axis=0).max() < 0.15 * max(spreads)


def still_track(num_frames=1, angle=0.0, opacity=1.0):
    ones = np.ones(num_frames)
    return ActorTrack(np.full((num_frames, 2), 0.5), 0.3 * ones, angle * ones, opacity * ones)


@pytest.mark.parametrize('look', LOOKS)
def test_look_provides_tiling_ground_and_sprites(look):
    parts = LOOKS[look](np.random.default_rng(3))
    assert parts.ground.shape == (TEXTURE_PIXELS, TEXTURE_PIXELS, 3)
    seam = np.abs(parts.ground[0] - parts.ground[-1]).mean()
    inside = np.abs(np.diff(parts.ground, axis=0)).mean()
    assert seam < 2 * inside
    for sprite in (parts.actor, *parts.distractors):
        assert sprite.shape == (SPRITE_PIXELS, SPRITE_PIXELS, 4)
        assert sprite[..., 3].min() == 0 and sprite[..., 3].max() == 1


@pytest.mark.parametrize('look', LOOKS)
def test_actor_looks_different_after_any_turn(look):
    """Turned by any angle it is another picture, or no clip would show which way it turns."""
    for seed in range(10):
        actor = LOOKS[look](np.random.default_rng(seed)).actor
        pictures = []
        for turn in np.radians(np.arange(0, 360, 30)):
            canvas = np.zeros((48, 48, 3), np.float32)
            paste(canvas, actor, np.array([23.5, 23.5]), radius=14, angle=turn)
            pictures.append(canvas)
        covered = (pictures[0].max(axis=2) > 0).mean()
        for turned in pictures[2:-1]:  # by 60 degrees or more
            assert np.abs(turned - pictures[0]).mean() > 12 * covered


def test_looks_differ_in_what_a_network_could_go_by():
    """Bright ground against dim; a head darker than the body against a brighter nose."""
    for seed in range(10):
        shapes, fur = (LOOKS[look](np.random.default_rng(seed)) for look in ('shapes', 'fur'))
        assert fur.ground.mean() > shapes.ground.mean() + 50
        assert brightness_of_the_front(shapes.actor) > 0 > brightness_of_the_front(fur.actor)


def brightness_of_the_front(sprite):
    """Return how much brighter the front (+x) of an actor is than its back."""
    halves = sprite[:, 30:], sprite[:, :22]
    front, back = ((half * half[..., 3:]).sum((0, 1)) / half[..., 3].sum() for half in halves)
    return front[:3].mean() - back[:3].mean()


def test_frames_are_drawn_from_the_generator_alone():
    first, again, other = (list(draw_frames(np.random.default_rng(seed), still_track(3), 64, FPS,
                                            'shapes')) for seed in (1, 1, 2))
    assert first[0].shape == (64, 64, 3) and first[0].dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], first[2])  # the ground moves under a still actor


def test_actor_away_leaves_the_ground_and_only_the_distractors():
    with_actor, without = (next(draw_frames(np.random.default_rng(1), still_track(opacity=opacity),
                                            64, FPS, 'shapes')) for opacity in (1.0, 0.0))
    changed = (with_actor != without).any(axis=2)
    assert changed[32, 32] and not changed[0].any() and not changed[:, 0].any()


def test_angle_is_clockwise_on_the_screen():
    """A nose to the right points down after a quarter turn clockwise."""
    sprite = np.zeros((SPRITE_PIXELS, SPRITE_PIXELS, 4), np.float32)
    sprite[22:26, 26:40] = 255
    sprite[22:26, 26:40, 3] = 1
    canvas = np.zeros((64, 64, 3), np.float32)
    paste(canvas, sprite, np.array([32.0, 32.0]), radius=16, angle=np.pi / 2)
    rows, columns = np.nonzero(canvas[..., 0] > 128)
    assert rows.min() > 32 and abs(columns.mean() - 32) < 1


@pytest.mark.parametrize('center', [(-50.0, 5.0), (200.0, 200.0), (0.0, 0.0), (63.5, 31.0)])
def test_paste_outside_or_across_the_edge_is_cut_off(center):
    canvas = np.zeros((64, 64, 3), np.float32)
    sprite = np.ones((SPRITE_PIXELS, SPRITE_PIXELS, 4), np.float32)
    paste(canvas, sprite, np.array(center), radius=8)
    assert (canvas.sum() > 0) == (0 <= center[0] <= 64)


def test_written_videos_decode_to_the_annotated_frames(tiny):
    annotations = read_annotations(tiny / 'annotations.json')
    assert [video.subset for video in annotations.values()] == ['training'] * 2 + ['test']
    for video_id, video in annotations.items():
        with av.open(str(tiny / 'videos' / f'{video_id}.mp4')) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == 'h264'
            assert (stream.width, stream.height, float(stream.average_rate)) == (32, 32, FPS)
            assert sum(1 for _ in container.decode(stream)) == video.num_frames
        assert video.fps == FPS
        assert video.duration_seconds == pytest.approx(video.num_frames / FPS, abs=1e-4)
        assert len(video) >= 1 and set(video.labels) <= set(CLASS_NAMES)
        assert (video.segments_seconds[:, 1] <= video.duration_seconds).all()


def test_decord_counts_the_same_frames(tiny):
    decord = pytest.importorskip('decord')
    for video_id, video in read_annotations(tiny / 'annotations.json').items():
        reader = decord.VideoReader(str(tiny / 'videos' / f'{video_id}.mp4'))
        assert len(reader) == video.num_frames


def test_same_seed_same_bytes_whatever_the_workers(tiny, tmp_path):
    build_toy_dataset(tmp_path, TINY, workers=1)
    assert digests(tmp_path) == digests(tiny)


@pytest.fixture(scope='module')
def trimmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trimmed')
    settings = replace(TINY, trimmed=True, train_videos=12, test_videos=6, min_seconds=1,
                       max_seconds=2, look='fur')
    assert build_toy_dataset(folder, settings)
    return folder, settings


def test_trimmed_clips_are_one_action_from_end_to_end(trimmed):
    folder, _ = trimmed
    annotations = read_annotations(folder / 'annotations.json')
    assert len(annotations) == 18
    for video in annotations.values():
        assert video.segments_seconds.tolist() == [[0, pytest.approx(video.duration_seconds)]]
        assert 1 <= video.duration_seconds <= 2
    labels = [video.labels[0] for video in annotations.values() if video.subset == 'training']
    assert sorted(labels) == sorted(2 * CLASS_NAMES)


def test_trimmed_clips_are_listed_as_mmaction_reads_them(trimmed):
    folder, _ = trimmed
    annotations = read_annotations(folder / 'annotations.json')
    for name, subset in (('train_list_videos.txt', 'training'), ('val_list_videos.txt', 'test')):
        lines = (folder / name).read_text().splitlines()
        assert len(lines) == sum(video.subset == subset for video in annotations.values())
        for line in lines:
            path, label = line.split()
            assert (folder / 'videos' / path).is_file()
            assert annotations[path.removesuffix('.mp4')].labels == (CLASS_NAMES[int(label)], )


def test_lists_go_with_the_clips(tmp_path):
    settings = replace(TINY, trimmed=True, train_videos=1, test_videos=0, min_seconds=1,
                       max_seconds=2)
    build_toy_dataset(tmp_path, settings)
    assert (tmp_path / 'val_list_videos.txt').read_text() == ''
    build_toy_dataset(tmp_path, replace(TINY, test_videos=0, train_videos=1))
    assert not list(tmp_path.glob('*.txt'))


def test_other_seed_other_annotation(tiny, tmp_path):
    build_toy_dataset(tmp_path, replace(TINY, seed=1))
    assert digests(tmp_path)['annotations.json'] != digests(tiny)['annotations.json']


def test_look_changes_no_annotation(tiny, tmp_path, monkeypatch):
    def plain(rng):
        rng.random(1000)
        return LOOKS['shapes'](rng)
    monkeypatch.setitem(LOOKS, 'plain', plain)
    monkeypatch.setattr('sbp_tad.datasets.toy_videos.settings.LOOK_NAMES', tuple(LOOKS))
    build_toy_dataset(tmp_path, replace(TINY, look='plain'))
    first, second = (json.loads((folder / 'annotations.json').read_text())['database']
                     for folder in (tiny, tmp_path))
    assert first == second
    assert digests(tmp_path)['toy_test_0000.mp4'] != digests(tiny)['toy_test_0000.mp4']


def test_write_video_keeps_what_is_drawn(tmp_path):
    frames = [np.full((32, 48, 3), value, np.uint8) for value in (20, 120, 220)]
    write_video(tmp_path / 'x.mp4', frames, FPS)
    with av.open(str(tmp_path / 'x.mp4')) as container:
        read = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert np.allclose(read, frames, atol=6)


@pytest.fixture
def one_video(tmp_path):
    settings = replace(TINY, train_videos=1, test_videos=0)
    build_toy_dataset(tmp_path, settings)
    return tmp_path, settings


def test_complete_set_is_reused(one_video):
    folder, settings = one_video
    before = (folder / 'videos' / 'toy_training_0000.mp4').stat().st_mtime_ns
    assert not build_toy_dataset(folder, settings)
    assert (folder / 'videos' / 'toy_training_0000.mp4').stat().st_mtime_ns == before


@pytest.mark.parametrize('change', [{'seed': 5}, {'size': 34}, {'fps': 10}, {'test_videos': 1}])
def test_changed_setting_rebuilds(one_video, change):
    folder, settings = one_video
    assert build_toy_dataset(folder, replace(settings, **change))
    content = json.loads((folder / 'annotations.json').read_text())
    assert content['settings'] == asdict(replace(settings, **change))


def test_newer_generator_rebuilds(one_video, monkeypatch):
    folder, settings = one_video
    monkeypatch.setattr(build_module, 'generator_version', lambda: 'toy-next')
    assert build_toy_dataset(folder, settings)


def test_missing_video_or_broken_annotation_rebuilds(one_video):
    folder, settings = one_video
    (folder / 'videos' / 'toy_training_0000.mp4').unlink()
    assert build_toy_dataset(folder, settings)
    for text in ('{"database": ', '[]', '{}'):
        (folder / 'annotations.json').write_text(text)
        assert not is_complete(folder, settings)
    assert build_toy_dataset(folder, settings)


def test_interrupted_build_counts_as_incomplete_and_is_cleared(tmp_path, monkeypatch):
    build_toy_dataset(tmp_path, TINY)

    def stop(path, frames, fps):
        path.write_bytes(b'half')
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(build_module, 'write_video', stop)
        with pytest.raises(KeyboardInterrupt):
            build_toy_dataset(tmp_path, replace(TINY, seed=9))
    assert not is_complete(tmp_path, TINY)
    assert build_toy_dataset(tmp_path, replace(TINY, test_videos=0))
    names = sorted(path.name for path in (tmp_path / 'videos').iterdir())
    assert names == ['toy_training_0000.mp4', 'toy_training_0001.mp4']


def test_files_of_others_in_the_folder_are_kept(tmp_path):
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'mine.mp4').write_bytes(b'mine')
    build_toy_dataset(tmp_path, replace(TINY, train_videos=1, test_videos=0))
    assert (tmp_path / 'videos' / 'mine.mp4').read_bytes() == b'mine'


@pytest.mark.parametrize('change, message', [
    ({'seed': -1}, r'seed must be 0 or more, got -1'),
    ({'train_videos': -2}, r'train_videos must be 0 or more, got -2'),
    ({'test_videos': -2}, r'test_videos must be 0 or more, got -2'),
    ({'train_videos': 0, 'test_videos': 0}, r'must be 1 or more, got 0'),
    ({'size': 65}, r'even number of pixels from 32 to 512, got 65'),
    ({'size': 16}, r'even number of pixels from 32 to 512, got 16'),
    ({'fps': 0}, r'fps must be from 5 to 60, got 0'),
    ({'min_seconds': 1}, r'at least 3.3, to hold one action, got 1 and 9'),
    ({'min_seconds': 10}, r'ordered.* got 10 and 9'),
    ({'max_seconds': float('nan')}, r'finite.* got 5 and nan'),
    ({'look': 'photos'}, r'look must be one of shapes, fur, got photos'),
    ({'trimmed': True}, r'trimmed clips must be ordered and from 1 to 8.* got 5 and 9'),
    ({'trimmed': True, 'min_seconds': 0.5, 'max_seconds': 2}, r'trimmed clips.* got 0.5 and 2'),
    ({'trimmed': True, 'min_seconds': 3, 'max_seconds': 2}, r'trimmed clips.* got 3 and 2'),
])
def test_bad_setting_is_a_sentence(change, message):
    with pytest.raises(DatasetError, match=message):
        replace(TINY, **change)


def test_bad_workers_is_a_sentence(tmp_path):
    with pytest.raises(DatasetError, match='workers must be 1 or more, got 0'):
        build_toy_dataset(tmp_path, TINY, workers=0)


def test_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(DatasetError, match='Cannot write the toy dataset to .*file'):
        build_toy_dataset(tmp_path / 'file', TINY)
