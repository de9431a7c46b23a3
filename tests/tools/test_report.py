"""``tools/report.py``: it reads files and writes a folder that opens from disk."""
import json
import re
from pathlib import Path

import pytest
from evaluation_files import make_annotation, perfect_results, renamed, scaled, write

ROOT = Path(__file__).parents[2]
FIXTURE = str(ROOT / 'tests' / 'data' / 'evaluation' / 'mmaction2_eval_localization')
FILES = ['--ground-truth', FIXTURE + '_gt.json', '--predictions', FIXTURE + '.json.gz']


@pytest.fixture
def run(call_tool, tmp_path):
    """Call the tool in this process; returns (status, stdout, stderr)."""
    def call(*arguments):
        return call_tool('report', *arguments, '--out', tmp_path / 'report')
    return call


def read_data(folder):
    """Return the data that the page reads."""
    script = (folder / 'report' / 'assets' / 'data.js').read_text()
    return json.loads(json.loads(re.search(r'JSON\.parse\((".*")\);', script)[1]))


def test_page_and_all_that_it_links_are_written(run, tmp_path):
    status, output, errors = run(*FILES)
    assert status == 0 and errors.startswith('Reading ') and len(errors.splitlines()) == 1
    page = (tmp_path / 'report' / 'index.html').read_text()
    assert str(tmp_path / 'report' / 'index.html') in output
    linked = re.findall(r'(?:src|href)="(assets/[^"]+)"', page)
    assert len(linked) > 5
    assert all((tmp_path / 'report' / name).is_file() for name in linked)
    assert not re.search(r'(?:src|href)="(?!assets/|#)', page)  # nothing off the disk


def test_subset_is_that_of_the_predicted_videos(run, tmp_path):
    run(*FILES)
    found = read_data(tmp_path)
    run(*FILES, '--subset', 'validation')
    assert read_data(tmp_path) == found
    assert found['evaluation']['subset'] == 'validation'
    assert found['title'] == 'mmaction2_eval_localization'
    expected = json.loads(Path(FIXTURE + '_expected.json').read_text())
    run(*FILES, '--tiou', ','.join(map(str, expected['tiou'])), '--title', 'Mine')
    found = read_data(tmp_path)
    assert list(found['evaluation']['mAP'].values()) == pytest.approx(
        expected['activitynet']['mAP'], abs=1e-6)
    assert found['title'] == 'Mine'


def test_videos_are_linked_or_copied(run, tmp_path):
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'a b.webm').write_bytes(b'x')
    (tmp_path / 'found.json').write_text(json.dumps({'a b': [], 'c': []}))
    arguments = ['--predictions', tmp_path / 'found.json', '--videos', tmp_path / 'videos']
    status, output, _ = run(*arguments)
    assert status == 0 and '2 videos, 1 of them with a file' in output
    assert [video['file'] for video in read_data(tmp_path)['videos']] == [
        '../videos/a%20b.webm', None]
    run(*arguments, '--copy-videos')
    assert read_data(tmp_path)['videos'][0]['file'] == 'videos/a%20b.webm'
    assert (tmp_path / 'report' / 'videos' / 'a b.webm').read_bytes() == b'x'


def test_predictions_alone_give_a_page_without_scores(run, tmp_path):
    assert run(*FILES[2:])[0] == 0
    found = read_data(tmp_path)
    assert (found['hasGroundTruth'], found['evaluation'], found['errorAnalysis']) == (
        False, None, None)


def test_detections_that_do_not_fit_the_annotation_are_refused_and_corrected(run, tmp_path):
    database = make_annotation()
    results = perfect_results(database)
    files = ['--ground-truth', write(tmp_path / 'gt.json', dict(database=database)),
             '--predictions', tmp_path / 'found.json']
    write(tmp_path / 'found.json', renamed(results, 'v_{}'.format))
    status, _, errors = run(*files)
    assert status == 2 and 'add --map-video-ids' in errors
    assert run(*files, '--map-video-ids')[0] == 0
    assert read_data(tmp_path)['evaluation']['average_mAP'] == pytest.approx(1)
    write(tmp_path / 'found.json', scaled(results, lambda _: 1000))
    status, _, errors = run(*files)
    assert status == 2 and 'Add --time-unit milliseconds' in errors
    assert run(*files, '--time-unit', 'milliseconds')[0] == 0
    assert read_data(tmp_path)['evaluation']['average_mAP'] == pytest.approx(1)


def test_faults_are_sentences(run, tmp_path):
    (tmp_path / 'other.json').write_text(json.dumps({'elsewhere': []}))
    status, _, errors = run('--predictions', tmp_path / 'other.json', *FILES[:2])
    assert status == 2 and 'annotates no video of the predictions (1 tried)' in errors
    status, _, errors = run(*FILES, '--subset', 'none')
    assert status == 2 and 'no video is in subset' in errors
    status, _, errors = run(*FILES, '--videos', tmp_path / 'absent')
    assert status == 2 and 'no such folder of videos' in errors
