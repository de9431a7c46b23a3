"""Weights that a config names must exist before a training starts."""
import pytest

from sbp_tad.apis.config.weight_files import check_weight_files
from sbp_tad.errors import ConfigError


@pytest.mark.parametrize('config', [
    dict(model=dict(backbone=dict(pretrained=None), neck=None)),
    dict(model=dict(backbone=dict(pretrained=True))),
    dict(model=dict(backbone=dict(pretrained='torchvision://resnet50'))),
    dict(model=dict(backbone=dict(pretrained='open-mmlab:x')), load_from='https://a.b/c.pth'),
    dict(model=dict(init_cfg=dict(type='Xavier'))), dict(model={}, load_from=None),
    dict(model={}, load_from='absent.pth', resume=True)])  # looked up by --resume
def test_what_needs_no_local_file(config):
    check_weight_files(config)


@pytest.mark.parametrize('config, key', [
    (dict(model={}, load_from='absent.pth'), 'load_from'),
    (dict(model=dict(backbone=dict(backbone=dict(pretrained='absent.pth')))),
     'model.backbone.backbone.pretrained'),
    (dict(model=dict(backbone=dict(init_cfg=[dict(type='Normal'), dict(
        type='Pretrained', checkpoint='absent.pth')]))), 'model.backbone.init_cfg.1.checkpoint')])
def test_an_absent_file_is_named_with_its_key(config, key, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=f"{key} names the weights 'absent.pth', which do not"):
        check_weight_files(config)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'absent.pth').touch()
    check_weight_files(config)
