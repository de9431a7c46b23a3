"""The report page in a real browser: sliders, clicks, keys, videos, escaping."""
from __future__ import annotations

import json
import re
from importlib.resources import files

import numpy as np
import pytest
from matplotlib.image import imread
from report_cases import slide, small_annotations, small_detections

from sbp_tad.annotations import VideoAnnotation
from sbp_tad.evaluation.detections import Detections
from sbp_tad.visualization.report_page import link_videos

NASTY = '</script><img src=x onerror="globalThis.stolen = 1">\u2028\'"&amp;{{7*7}}'


def marks(browser):
    """(kind and mark, label) of every segment on the timeline."""
    return sorted(browser.run('''[...document.querySelectorAll('#rows .segment')].map((e) =>
        [e.className, e.closest('.row').querySelector('.name').textContent])'''))


def text(browser, selector):
    return browser.run(f'document.querySelector({json.dumps(selector)}).textContent')


def test_marks_follow_both_sliders(small_page):
    slide(small_page, 'score', 0)
    assert marks(small_page) == [
        ['segment detections false', 'jump'], ['segment detections matched', 'jump'],
        ['segment detections matched', 'run'], ['segment truth ', 'Ambiguous'],
        ['segment truth found', 'jump'], ['segment truth found', 'run']]
    slide(small_page, 'tiou', 0.65)  # the run overlaps by 0.6
    assert ['segment truth missed', 'run'] in marks(small_page)
    assert ['segment detections false', 'run'] in marks(small_page)
    slide(small_page, 'tiou', 0.6)
    assert ['segment truth found', 'run'] in marks(small_page)
    slide(small_page, 'score', 0.85)
    assert marks(small_page) == [
        ['segment detections matched', 'jump'], ['segment truth ', 'Ambiguous'],
        ['segment truth found', 'jump'], ['segment truth missed', 'run']]
    assert text(small_page, '#video-counts') == '✓ 1 matched○ 1 missed✕ 0 false'
    assert text(small_page, '#score-value') == '0.850'


def test_sliders_move_average_precision_and_operating_points(small_page):
    def row_of(name):
        return {row['name']: row for row in small_page.run('charts.classRows()')}[name]
    slide(small_page, 'score', 0.5)
    assert (row_of('run')['live'], row_of('run')['recall'], row_of('run')['precision']) == (
        0.5, 0.5, 1.0)
    assert '50.0' in text(small_page, '#classes tbody tr:nth-child(2)')
    slide(small_page, 'tiou', 0.65)
    assert row_of('run')['live'] == 0
    assert 'AP at 0.65' in text(small_page, '#classes thead')
    assert 'tIoU 0.65' in text(small_page, '#curves-note')


def test_first_score_has_the_best_f1(small_page):
    assert small_page.run('model.state.score') == 0.8  # 2 of 3 found, nothing false
    slide(small_page, 'score', 0)
    small_page.click('#score-reset')
    assert small_page.run('model.state.score') == 0.8


def test_click_on_a_segment_jumps_there_and_says_why(small_page):
    slide(small_page, 'score', 0)
    small_page.click('.segment.detections.false')
    assert small_page.run('player.time()') == 6
    details = text(small_page, '#details')
    assert 'Prediction: jump' in details and '0:06.0 to 0:07.0' in details
    assert 'no ground truth of its class overlaps it. It overlaps run with tIoU 0.333' in details
    small_page.click('.segment.detections.matched')
    assert 'Matched with ground truth at tIoU 1.000' in text(small_page, '#details')
    assert small_page.run('document.querySelectorAll(".segment.selected").length') == 1


@pytest.mark.parametrize('label, score, tiou, sentence', [
    ('run', 0, 0.65, 'has tIoU 0.600 only'),
    ('run', 0.85, 0.5, 'Missed at this score; a detection with score 0.800 at tIoU 0.600'),
    ('Ambiguous', 0, 0.5, 'not a class; it is not scored')])
def test_reasons_are_given(small_page, label, score, tiou, sentence):
    slide(small_page, 'score', score)
    slide(small_page, 'tiou', tiou)
    kind = 'detections' if 'only' in sentence else 'truth'
    small_page.run(f'''[...document.querySelectorAll('.segment.{kind}')].find((e) =>
        e.getAttribute('aria-label').includes(' {label},')).click()''')
    assert sentence in text(small_page, '#details')


def test_click_on_the_track_moves_the_cursor(small_page):
    small_page.click('#rows .axis', at=(0.25, 0.5))
    assert small_page.run('player.time()') == pytest.approx(2.5, abs=0.02)
    left = small_page.run('''getComputedStyle(document.querySelector('.cursor'))
                             .getPropertyValue('--start')''')
    assert float(left) == pytest.approx(0.25, abs=0.002)
    assert text(small_page, '#time') == '0:02.5 / 0:10.0'


def test_keys_step_through_videos_and_segments(small_page):
    slide(small_page, 'score', 0)
    small_page.run('document.activeElement.blur()')
    assert text(small_page, '#video-name') == 'first'
    small_page.press('.')
    small_page.press('.')
    assert small_page.run('timeline.state.selected.start') == 1
    small_page.press('.')
    assert small_page.run('player.time()') == 5
    small_page.press(',')
    assert small_page.run('player.time()') == 1
    small_page.press('ArrowRight')
    assert small_page.run('player.time()') == 2
    small_page.press('n')
    assert text(small_page, '#video-name') == 'second'
    small_page.press('p')
    assert text(small_page, '#video-name') == 'first'
    small_page.press(']')
    assert small_page.run('model.state.score') == pytest.approx(0.9 / 50)
    small_page.press('}')
    assert small_page.run('model.state.tiou') == 0.55
    small_page.press('+')
    assert small_page.run('''document.getElementById('zoom').value''') == '2'
    small_page.press('?')
    assert small_page.run('document.getElementById("help").open')


def test_arrows_move_the_focus_in_list_and_timeline(small_page):
    small_page.click('#videos li')
    small_page.press('ArrowDown')
    assert small_page.run('document.activeElement.id') == 'video-1'
    assert small_page.run('document.activeElement.getAttribute("aria-selected")') == 'true'
    assert small_page.run('''getComputedStyle(document.activeElement).outlineStyle''') == 'solid'
    small_page.press('Home')
    small_page.run('document.querySelector("#rows [tabindex=\\"0\\"]").focus()')
    small_page.press('ArrowRight')
    first = small_page.run('document.activeElement.dataset.key')
    small_page.press('ArrowRight')
    assert small_page.run('document.activeElement.dataset.key') != first
    assert small_page.run('document.querySelectorAll("#rows [tabindex=\\"0\\"]").length') == 1
    slide(small_page, 'tiou', 0.6)  # drawn anew, the focus stays
    assert small_page.run('document.activeElement.className').startswith('segment')


def test_slider_takes_arrow_keys(small_page):
    small_page.run('document.getElementById("tiou").focus()')
    small_page.press('ArrowRight')
    assert small_page.run('model.state.tiou') == 0.55
    assert small_page.run('player.time()') == 0


def test_everything_that_can_be_used_has_a_name(small_page):
    nameless = small_page.run('''[...document.querySelectorAll('button, input, select, video')]
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() ||
                         e.labels?.length)).map((e) => e.outerHTML)''')
    assert nameless == []


def test_filter_and_order_of_the_list(small_page):
    small_page.press('/')
    small_page.type('jump')
    assert text(small_page, '#filter-count') == '1 of 3 videos'
    assert small_page.run('document.getElementById("videos").children[0].id') == 'video-0'
    assert text(small_page, '#video-name') == 'first'  # typing n or p is not a command here
    small_page.run('''(() => { const e = document.getElementById('filter'); e.value = '';
                      e.dispatchEvent(new Event('input')); const o = document.getElementById(
                      'order'); o.value = 'missed'; o.dispatchEvent(new Event('change')); })()''')
    assert small_page.run('document.getElementById("videos").children[0].id') == 'video-1'


def test_choosing_a_class_lifts_its_curve(small_page):
    assert small_page.run('document.querySelectorAll("#curves .line").length') == 2
    small_page.click('#classes [data-label="1"]')
    assert small_page.run('document.querySelectorAll("#curves .chosen").length') == 1
    assert text(small_page, '#curves-note').startswith('run at')
    small_page.click('#classes [data-column="live"]')
    assert text(small_page, '#classes tbody th') == 'jump'  # AP 1 comes before 0.5


def test_error_analysis_is_shown(small_page):
    assert not small_page.run('document.getElementById("errors").hidden')
    body = text(small_page, '#errors-body')
    assert 'double detection' in body and 'Missed instances' in body


def test_without_ground_truth_nothing_is_marked(page):
    browser = page(small_detections())
    assert {kind for kind, _ in marks(browser)} == {'segment detections '}
    assert browser.run('document.getElementById("errors").hidden')
    assert browser.run('getComputedStyle(document.getElementById("tiou")).display') == 'none'
    slide(browser, 'score', 0.85)
    assert len(marks(browser)) == 1


def test_time_runs_without_a_video(small_page):
    small_page.run('player.setRate(4)')
    small_page.click('#play')
    small_page.wait('player.time() > 0.5')
    small_page.press('k')
    assert not small_page.run('player.isPlaying()')


@pytest.mark.parametrize('copy', [False, True])
def test_video_plays_and_seeks(page, tmp_path, write_video, copy):
    folder = tmp_path / 'videos of #1'
    folder.mkdir()
    write_video(folder / 'first.mp4', 100)
    links = link_videos(tmp_path / 'report', folder, {'first': folder / 'first.mp4'}, copy)
    assert links == {'first': 'videos/first.mp4' if copy else '../videos%20of%20%231/first.mp4'}
    browser = page(small_detections(), small_annotations(), links=links)
    browser.wait('document.getElementById("player").readyState >= 1')
    browser.press('.')
    browser.press('.')
    browser.press('.')
    browser.wait('Math.abs(document.getElementById("player").currentTime - 5) < 0.05')
    browser.run('player.play()')
    browser.wait('player.time() > 5.2')
    browser.run('player.pause()')


def test_file_that_does_not_play_leaves_the_cursor(page, tmp_path):
    (tmp_path / 'first.mp4').write_bytes(b'not a video')
    browser = page(small_detections(), small_annotations(), links={'first': '../first.mp4'})
    browser.wait('!document.getElementById("stage-note").hidden')
    assert 'cannot play the video file' in text(browser, '#stage-note')
    browser.click('#rows .axis', at=(0.5, 0.5))
    assert browser.run('player.time()') == pytest.approx(5, abs=0.05)


def test_names_and_labels_are_text(page):
    segments = np.array([[1.0, 3.0]])
    annotations = {NASTY: VideoAnnotation(NASTY, 'test', 9.0, None, None, segments, (NASTY,))}
    detections = Detections.from_results({
        NASTY: [dict(segment=[1, 3], label=NASTY, score=0.9)],
        '__proto__': [dict(segment=[1, 3], label=NASTY, score=0.8)]})
    browser = page(detections, annotations, title=NASTY, subset=NASTY)
    assert text(browser, '#video-name') == '__proto__'
    browser.press('n')
    browser.click('.segment.detections')
    browser.click('#classes [data-label="0"]')
    assert browser.run('globalThis.stolen') is None
    assert browser.run('document.images.length') == 0
    for selector in ('h1', '#video-name', '#classes tbody th', '#details', '#rows .row .name',
                     '#curves title', '#notes', '#now'):
        assert NASTY in browser.run(f'''[...document.querySelectorAll('{selector}')]
                                        .map((e) => e.textContent).join('|')'''), selector


def test_scripts_never_parse_html():
    for source in files('sbp_tad.visualization.report_page').iterdir():
        if source.name.endswith('.js'):
            assert not re.search(r'innerHTML|outerHTML|insertAdjacent|document\.write|eval\('
                                 r'|fetch\(|https?://(?!www\.w3\.org/2000/svg)', source.read_text())


def large_result():
    """213 videos with 200 detections of 20 classes each, and 15 annotated segments."""
    rng = np.random.default_rng(0)
    names = [f'video_{i:04d}' for i in range(213)]
    labels = [f'class_{i}' for i in range(20)]
    starts = rng.uniform(0, 200, (213, 200))
    scores, kinds = rng.uniform(0, 1, (213, 200)), rng.integers(0, 20, (213, 200))
    detections = Detections.from_videos(
        {name: (np.stack([starts[i], starts[i] + 4], 1), scores[i], kinds[i])
         for i, name in enumerate(names)}, labels)
    annotations = {name: VideoAnnotation(
        name, 'test', 210.0, None, None, np.stack([starts[i, :15], starts[i, :15] + 3.5], 1),
        tuple(labels[k] for k in kinds[i, :15])) for i, name in enumerate(names)}
    return detections, annotations


def test_a_large_result_draws_one_video_at_a_time(page):
    browser = page(*large_result())
    assert browser.run('document.querySelectorAll(".segment").length') < 600  # of one video
    slide(browser, 'score', 0)
    assert browser.run('document.querySelectorAll("#rows .segment").length') == 215


@pytest.mark.nightly
def test_a_large_result_opens_fast(page):
    browser = page(*large_result())
    assert browser.run('''performance.getEntriesByType('navigation')[0].domInteractive''') < 8000


def test_screenshot_is_a_picture_in_both_themes(small_page, tmp_path):
    means = []
    for theme in ('light', 'dark'):
        small_page.run(f'''(() => {{ const e = document.getElementById('theme');
            e.value = '{theme}'; e.dispatchEvent(new Event('change')); }})()''')
        small_page.settle()
        image = imread(small_page.screenshot(tmp_path / f'{theme}.png'))
        assert image.shape[:2] == (1000, 1440)
        means.append(image[..., :3].mean())
    assert means[0] > 0.8 and means[1] < 0.3
