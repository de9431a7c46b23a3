"""Origin of a result: facts of software, tree and files."""
import hashlib
import json
import subprocess

import numpy as np

from sbp_tad.provenance import (
    add_provenance,
    environment,
    file_fingerprint,
    file_sha256,
    git_state,
    list_fingerprint,
    run_facts,
)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 9000  # more than one block
    path = tmp_path / 'x'
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()
    assert file_fingerprint(path) == dict(path=str(path), bytes=len(content),
                                          sha256=file_sha256(path))
    assert file_fingerprint(tmp_path / 'absent') is None


def test_a_list_of_files_is_known_by_names_and_sizes(tmp_path):
    for name in 'ab':
        (tmp_path / f'{name}.mp4').write_text('xy')
    paths = [str(tmp_path / name) for name in ('a.mp4', 'b.mp4', 'absent.mp4')]
    first = list_fingerprint(paths)
    assert (first['files'], first['missing'], first['bytes']) == (3, 1, 4)
    assert list_fingerprint(paths[::-1] + paths) == first
    (tmp_path / 'a.mp4').write_text('xyz')
    assert list_fingerprint(paths)['sha256'] != first['sha256']


def test_git_state(tmp_path):
    assert git_state(tmp_path) is None

    def git(*arguments):
        subprocess.run(['git', '-C', str(tmp_path), '-c', 'user.name=n', '-c', 'user.email=e',
                        *arguments], check=True, capture_output=True)
    git('init')
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / 'x').write_text('1')
    git('add', 'x')
    git('commit', '-m', 'x')
    assert git_state(tmp_path)['changed'] == [] and len(git_state(tmp_path)['commit']) == 40
    (tmp_path / 'x').write_text('2')
    assert git_state(tmp_path)['changed'] == ['x']


def test_the_environment_names_what_changes_results(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    facts = environment()
    assert facts['packages']['numpy'] == np.__version__ and 'torch' in facts['packages']
    assert facts['variables']['OMP_NUM_THREADS'] == '3'
    assert json.loads(json.dumps(run_facts()))['environment']['python'] == facts['python']


def test_an_entry_stands_beside_those_of_other_commands_and_replaces_its_own(tmp_path):
    path = tmp_path / 'new' / 'provenance.json'
    add_provenance(path.parent, 'infer', videos=1)
    add_provenance(path.parent, 'train')
    add_provenance(path.parent, 'infer', videos=2)
    entries = json.loads(path.read_text())
    assert entries.keys() == {'infer', 'train'} and entries['infer']['videos'] == 2
    assert entries['train'].keys() == run_facts().keys()
    path.write_text('{"cut off')
    add_provenance(path.parent, 'test')
    assert json.loads(path.read_text()).keys() == {'test'}
