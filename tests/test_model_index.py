"""model-index.yml and the metafiles, by which mim lists the configs: complete and true."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from sbp_tad.apis import launch

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/[!_]*/**/*.py'))
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
METAFILES = {path: yaml.safe_load((ROOT / path).read_text()) for path in INDEX}
MODELS = [model for metafile in METAFILES.values() for model in metafile['Models']]
MEASURED = {json.loads(path.read_text())['config']: path
            for path in ROOT.glob('configs/*/demo_*.json')}


def test_the_index_names_every_metafile():
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/**/metafile.yml')}
    assert len(INDEX) == len(set(INDEX)) and set(INDEX) == found


def test_every_config_is_in_the_metafile_of_its_folder_once():
    listed = Counter(model['Config'] for model in MODELS)
    assert max(listed.values()) == 1
    assert set(listed) == set(CONFIGS), 'add the config to metafile.yml of its folder, or remove it'
    for path, metafile in METAFILES.items():
        assert all(Path(model['Config']).parent == Path(path).parent
                   for model in metafile['Models'])


def test_collections_exist_and_have_a_readme():
    for metafile in METAFILES.values():
        names = [collection['Name'] for collection in metafile['Collections']]
        assert {model['In Collection'] for model in metafile['Models']} == set(names)
        for collection in metafile['Collections']:
            assert (ROOT / collection['README']).is_file()
            assert collection['Paper']['URL'].startswith('https://arxiv.org/abs/')


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
def test_metadata_is_that_of_the_config(model, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert model['Name'] == Path(model['Config']).stem
    cfg, metadata = launch.load_config(model['Config']), model['Metadata']
    assert metadata['Batch Size'] == cfg.train_dataloader.batch_size
    assert metadata['Epochs'] == cfg.train_cfg.max_epochs
    assert {'Architecture', 'Training Data'} <= set(metadata)
    frozen = '_frozen_' in model['Name']
    keep_ratio = None if frozen else (cfg.model.get('backbone') or {}).get('keep_ratio')
    assert metadata.get('Keep Ratio') == keep_ratio


def test_results_are_those_that_were_measured():
    assert {model['Name'] for model in MODELS if 'Results' in model} == set(MEASURED)
    for model in MODELS:
        if 'Results' not in model:
            continue
        result, = model['Results']
        measured = json.loads(MEASURED[model['Name']].read_text())
        expected = {'average mAP': measured.get('average_mAP'), 'mAP': measured.get('frame_mAP'),
                    'calibrated mAP': measured.get('frame_calibrated_mAP')}
        expected.update({f'mAP@{tiou}': value for tiou, value in measured.get('mAP', {}).items()})
        assert result['Metrics'] == {name: round(100 * value, 2)
                                     for name, value in expected.items() if value is not None}
