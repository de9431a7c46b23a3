"""The set-up script says what is wrong and takes up what was left half done."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[1] / 'requirements/install.sh'

# Answers the questions of install.sh like a Python, creates an environment
# whose python is itself, and writes down every pip command.
FAKE_PYTHON = '''#!/bin/sh
case "$*" in
    -V) echo 'Python 3.0.0' ;;
    *'version_info'*) exit {too_old} ;;
    *'version("torch")'*) exit {no_torch} ;;
    *'base_prefix'*) exit 0 ;;
    '-m venv'*) echo "$*" >> {log}; for venv; do :; done
        mkdir -p "$venv/bin"; touch "$venv/pyvenv.cfg"; ln -sf "$0" "$venv/bin/python"
        exit {no_venv} ;;
    '-m pip install'*) echo "$*" >> {log}; exit {no_index} ;;
esac
'''


@pytest.fixture
def install(tmp_path):
    """Runs install.sh with a Python that fails where it is told to."""
    log = tmp_path / 'commands'

    def run(venv: str = 'venv', **fails: bool) -> tuple[int, str, list[str]]:
        answers = {'too_old': 0, 'no_torch': 1, 'no_venv': 0, 'no_index': 0}
        answers.update({name: int(value) for name, value in fails.items()})
        python = tmp_path / 'python'
        python.write_text(FAKE_PYTHON.format(log=log, **answers))
        python.chmod(0o755)
        log.write_text('')
        command = ['sh', str(INSTALL), str(python), str(tmp_path / venv), 'pins', 'dev']
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, log.read_text().splitlines()
    return run


def test_torch_comes_first_and_then_the_rest(install):
    code, _, commands = install()
    assert code == 0
    venv, torch, rest = commands
    assert '-m venv --clear' in venv and 'system-site' not in venv
    assert '-c pins' in torch and torch.endswith('torch.txt')
    assert '-c pins' in rest and rest.endswith('..[dev]')


def test_installed_torch_is_kept(install):
    code, _, commands = install(no_torch=False)
    assert code == 0
    assert '--system-site-packages' in commands[0]
    assert not any('torch.txt' in command for command in commands)


def test_second_run_keeps_the_environment(install):
    install(no_index=True)
    code, _, commands = install()
    assert code == 0 and not any('-m venv' in command for command in commands)


def test_environment_without_pip_is_made_anew(install, tmp_path):
    (tmp_path / 'venv/bin').mkdir(parents=True)
    (tmp_path / 'venv/pyvenv.cfg').touch()
    code, _, commands = install()
    assert code == 0 and '-m venv --clear' in commands[0]


def test_folder_of_something_else_is_not_emptied(install, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('precious')
    code, message, commands = install(venv='mine')
    assert code == 1 and 'other than a virtual environment' in message and 'VENV=' in message
    assert commands == [] and (tmp_path / 'mine/thesis.txt').exists()


@pytest.mark.parametrize('fault, expected', [
    ('too_old', 'need Python 3.11 or newer'),
    ('no_venv', 'install its venv module'),
    ('no_index', 'needs a package index'),
])
def test_fault_is_one_sentence(install, fault, expected):
    code, message, _ = install(**{fault: True})
    assert code == 1
    assert message.startswith('install: ') and expected in message
    assert len(message.splitlines()) == 1


def test_missing_python_is_one_sentence(tmp_path):
    done = subprocess.run(['sh', str(INSTALL), 'no-such-python', str(tmp_path), 'pins', 'dev'],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "there is no 'no-such-python'" in done.stderr
