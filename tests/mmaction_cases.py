"""All configs of the installed mmaction2, made small, and tiny data of each kind that they read."""
from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import mmaction
import numpy as np
from mmengine.config import Config
from recognition_cases import COLORS, NUM_FRAMES, SCALE, shrink_backbone, shrink_dataset

from sbp_tad.apis import launch

ROOT = Path(__file__).parents[1]
CONFIGS = Path(mmaction.__file__).parent / '.mim/configs'
TOOLS = Path(mmaction.__file__).parent / '.mim/tools'
TRAINING = str(ROOT / 'configs/_base_/recognition/kinetics400_training.py')
NUM_CLASSES = len(COLORS)

# Tasks that run here, and configs that cannot: what the sentence says.
TASKS = ('recognition', 'localization', 'skeleton', 'recognition_audio')
REFUSED = {
    'detection/': 'needs mmdet|petrel_client',
    'localization/bsn/bsn_pgm': 'has no model: it describes how BSN makes proposals',
    'localization/drn/': 'The wheel of mmaction2 1.2.0 lacks the module of DRN',
    'skeleton/posec3d/slowonly_r50_8xb16-u48-240e_gym-limb': 'train_dataloader is a tuple',
    'multimodal/': 'needs a package that is not installed: .*multi-modal',
    'retrieval/': 'needs a package that is not installed: .*CLIP',
    # mmaction's own mistake: an option of DecordInit stands at DecordDecode.
    'recognition/tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400':
        "wrong options: DecordDecode.*'io_backend'",
    'recognition/tsm/tsm_imagenet-pretrained-mobileone': 'MobileOneTSM .*It needs mmpretrain',
    'recognition/tsn/custom_backbones/tsn_imagenet-pretrained-dense161': 'torchvision',
    'recognition/tsn/custom_backbones/tsn_imagenet-pretrained-mobileone': 'mmpretrain',
    'recognition/tsn/custom_backbones/tsn_imagenet-pretrained-rn101': 'mmcls',
    'recognition/tsn/custom_backbones/tsn_imagenet-pretrained-swin': 'timm',
}
# Configs that are built and cannot train without a package.
UNTRAINABLE = {
    'recognition/tin/': 'needs a package that is not installed: Failed to import `tin_shift`',
    'recognition/omnisource/': 'mmcls.ImageNet .* of the package mmcls, which is not installed',
    'recognition_audio/audioonly/': "wrong options: .*'suffix'",  # mmaction's own mistake
}


def all_configs() -> list[str]:
    """Names of all configs, below ``mmaction::``."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
    return sorted(str(path) for path in paths if '_base_' not in path.parts)


def expected_refusal(name: str, table: dict[str, str]) -> str | None:
    """Pattern of the sentence with which a config is refused; None: it runs."""
    return next((pattern for prefix, pattern in table.items() if name.startswith(prefix)), None)


def write_config(name: str, folder: Path, sbp: bool = False, more: str = '') -> Path:
    """A user's config that inherits one of mmaction, with or without the README's lines of SBP."""
    path = folder / ('sbp.py' if sbp else 'plain.py')
    bases = [f'mmaction::{name}']
    if Config.fromfile(CONFIGS / name).get('train_dataloader') is None \
            and name.startswith('recognition/'):
        bases.append(TRAINING)
    lines = sbp_lines() if sbp else "custom_imports = dict(imports=['sbp_tad'])\n"
    path.write_text(f'_base_ = {bases}\n{lines}{more}\n')
    return path


def sbp_lines() -> str:
    """The lines of SBP that the README shows."""
    block, = re.findall(r"_base_ = 'mmaction::.*?\n(custom_imports.*?)```",
                        (ROOT / 'README.md').read_text(), flags=re.DOTALL)
    return block


# Parts of a file's name that mean other parts of the model, or other data, than its folder.
VARIANTS = ('-flow.py', 'nopool', 'mobilenetv2', 'mobileone', 'dense161', 'rn101', 'swin-trans',
            'tpn-tsm', 'bsn_tem', 'bsn_pem', 'bsn_pgm', 'keypoint-3d', '-limb', 'kinetics710-rgb',
            'pose_only', 'rgb_only', 'acrn', '-lfb-', 'sthv')


def family(name: str) -> str:
    """Configs of one family have the same kind of network, head and data."""
    folder, _, file = name.rpartition('/')
    return ' '.join([folder, *(variant for variant in VARIANTS if variant in file)])


def families() -> dict[str, str]:
    """A config of each family, that with the shortest name."""
    found: dict[str, str] = {}
    for name in sorted(all_configs(), key=lambda name: (len(name), name)):
        found.setdefault(family(name), name)
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- data
def write_features(folder: Path, channels: int = 16, steps: int = 20) -> Path:
    """Features, proposals and an annotation as BMN, BSN and TCANet read them."""
    rng = np.random.default_rng(0)
    videos: dict[str, Any] = {}
    for name in ('csv', 'pgm_proposals', 'pgm_features'):
        (folder / name).mkdir()
    for number in range(4):
        video, begin = f'v_toy{number}', 4.0 + number
        np.savetxt(folder / f'csv/{video}.csv', rng.normal(size=(steps, channels)), delimiter=',',
                   header=','.join(map(str, range(channels))), comments='')
        starts = rng.uniform(0, 0.5, 30)
        proposals = np.stack([starts, starts + 0.3, *rng.uniform(size=(4, 30))], axis=1)
        np.savetxt(folder / f'pgm_proposals/{video}.csv', proposals, delimiter=',', comments='',
                   header='tmin,tmax,tmin_score,tmax_score,score,match_iou')
        np.save(folder / f'pgm_features/{video}.npy', rng.uniform(size=(30, 32)))
        videos[video] = dict(
            duration_second=20.0, duration_frame=600, feature_frame=592, fps=30.0, rfps=29.9,
            annotations=[dict(segment=[begin, begin + 8.0], label='throw')],
            proposals=[[(begin - 1.0) / 20, (begin + 7.0) / 20, 0.9], [0.1, 0.9, 0.4]])
    (folder / 'features.json').write_text(json.dumps(videos))
    return folder


def write_poses(folder: Path, joints: int = 17, axes: int = 2) -> Path:
    """Key points of two persons over time, in the form of ``PoseDataset``."""
    rng = np.random.default_rng(0)
    clips = [dict(frame_dir=f'v{number}', label=number % NUM_CLASSES, img_shape=(SCALE, SCALE),
                  original_shape=(SCALE, SCALE), total_frames=2 * NUM_FRAMES,
                  keypoint=rng.uniform(2, SCALE - 2, (2, 2 * NUM_FRAMES, joints, axes)))
             for number in range(2 * NUM_CLASSES)]
    for clip in clips if axes == 2 else ():
        clip['keypoint_score'] = rng.uniform(0.5, 1, (2, 2 * NUM_FRAMES, joints))
    path = folder / f'poses_{joints}.pkl'
    names = [clip['frame_dir'] for clip in clips]
    splits = {f'{name}{part}': names for name in ('xsub_', 'xset_', '') for part in
              ('train', 'val', 'train1', 'test1')}
    path.write_bytes(pickle.dumps(dict(split=splits, annotations=clips)))
    return path


def write_sounds(folder: Path) -> Path:
    """Spectrograms (T, 80), listed as ``AudioDataset`` lists them."""
    rng, lines = np.random.default_rng(0), []
    for number in range(2 * NUM_CLASSES):
        np.save(folder / f'a{number}.npy', rng.normal(size=(128, 80)).astype(np.float32))
        lines.append(f'a{number}.npy 128 {number % NUM_CLASSES}')
    (folder / 'sounds.txt').write_text('\n'.join(lines) + '\n')
    return folder


# ---------------------------------------------------------------- small
def shrink_run(cfg: Config, name: str, data: Path, work_dir: Path) -> Config:
    """Two iterations of one epoch on tiny data, then validation and what testing needs."""
    cfg.work_dir, cfg.experiment_name, cfg.load_from = str(work_dir), work_dir.name, None
    shrink_part = dict(recognition=shrink_recognizer, localization=shrink_localizer,
                       skeleton=shrink_skeleton, recognition_audio=shrink_audio)
    shrink_part[name.split('/')[0]](cfg, data, work_dir)
    for phase in ('train', 'val', 'test'):
        loader = cfg[f'{phase}_dataloader']
        loader.update(batch_size=2 if phase == 'train' else 1, num_workers=0,
                      persistent_workers=False)
        leaf(loader).indices = 4 if phase == 'train' else 2
    cfg.train_cfg.update(max_epochs=1, val_begin=1, val_interval=1)
    cfg.default_hooks.checkpoint.update(interval=1)
    cfg.pop('auto_scale_lr', None)
    return cfg


def leaf(loader: Config) -> Config:
    """The data set of a loader below wrappers: RepeatDataset once, of a ConcatDataset the first."""
    dataset = loader.dataset
    while 'dataset' in dataset:
        dataset.times = 1
        dataset = dataset.dataset
    if 'datasets' in dataset:
        loader.dataset = dataset = dataset.datasets[0]
    return dataset


def shrink_recognizer(cfg: Config, data: Path, work_dir: Path) -> None:
    """A small network on clips of few pixels."""
    backbone = cfg.model.backbone.get('backbone') or cfg.model.backbone
    is_large = cfg.model.get('neck') is not None
    flow = backbone.get('in_channels') in (2, 10)
    width = 2048 if is_large else shrink_backbone(backbone)
    if is_large:
        backbone.update(pretrained=None, pretrained2d=False)
    head = cfg.model.cls_head
    head.update({key: NUM_CLASSES for key in ('num_classes', 'image_classes', 'video_classes')
                 if key in head or key == 'num_classes' and 'image_classes' not in head})
    head.in_channels = width
    if cfg.model.get('neck'):
        cfg.model.neck.aux_head_cfg.out_channels = NUM_CLASSES
    for augment in (cfg.model.data_preprocessor.get('blending') or {}).get('augments', []):
        augment.num_classes = NUM_CLASSES
    for phase in ('train', 'val', 'test'):
        dataset = leaf(cfg[f'{phase}_dataloader'])
        shrink_dataset(dataset, data / 'clips', NUM_CLASSES)
        if flow:
            dataset.filename_tmpl = 'flow_{}_{:05}.jpg'
            for transform in dataset.pipeline:
                if transform.type == 'SampleFrames':
                    transform.clip_len = 8 if backbone.in_channels == 2 else 5
        if backbone.type == 'C3D':
            for transform in dataset.pipeline:
                if transform.type == 'SampleFrames':
                    transform.clip_len = 16


def shrink_localizer(cfg: Config, data: Path, work_dir: Path) -> None:
    """Features of 16 channels over 20 steps."""
    cfg.model.update({key: value for key, value in dict(
        temporal_dim=20, feat_dim=16, tem_feat_dim=16).items() if key in cfg.model})
    for phase in ('train', 'val', 'test'):
        dataset = cfg[f'{phase}_dataloader'].dataset
        dataset.update(ann_file=str(data / 'features.json'),
                       data_prefix=dict(video=str(data / 'csv')))
        for transform in dataset.pipeline:
            if transform.type == 'LoadProposals':
                transform.update(pgm_proposals_dir=str(data / 'pgm_proposals'),
                                 pgm_features_dir=str(data / 'pgm_features'))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.dump_config.out = str(work_dir / ('results.json' if evaluator.dump_config.get(
            'output_format') == 'json' else 'results'))


def shrink_skeleton(cfg: Config, data: Path, work_dir: Path) -> None:
    """Key points of few frames; the networks of skeletons are small as they are."""
    cfg.model.cls_head.num_classes = NUM_CLASSES
    for phase in ('train', 'val', 'test'):
        dataset = leaf(cfg[f'{phase}_dataloader'])
        layout = ((cfg.model.backbone.get('graph_cfg') or {}).get('layout'))
        dataset.ann_file = str(data / ('poses_25.pkl' if layout == 'nturgb+d' else 'poses_17.pkl'))
        if 'data_prefix' in dataset:
            dataset.data_prefix = dict(video=str(data / 'clips'))
        for transform in dataset.pipeline:
            if transform.type == 'UniformSampleFrames':
                transform.clip_len = NUM_FRAMES
            elif transform.type == 'Resize' and transform.get('keep_ratio') is False:
                transform.scale = (64, 64)


def shrink_audio(cfg: Config, data: Path, work_dir: Path) -> None:
    """Spectrograms for audio features."""
    cfg.model.cls_head.num_classes = NUM_CLASSES
    for phase in ('train', 'val', 'test'):
        cfg[f'{phase}_dataloader'].dataset.update(
            ann_file=str(data / 'sounds.txt'), data_root=None, data_prefix=dict(audio=str(data)))


def load_small(path: Path, name: str, data: Path, work_dir: Path) -> Config:
    """Read a user's config and shrink it."""
    return shrink_run(launch.load_config(str(path)), name, data, work_dir)
