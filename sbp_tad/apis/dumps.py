"""Files that a test writes: detections, frame scores, predictions of windows."""
from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from sbp_tad.apis.named_files import check_output
from sbp_tad.errors import ConfigError

# Metric -> its default file and the suffixes that it writes.
DUMPS = {'TADMetric': ('detections.json', ('.json', '.json.gz')),
         'OnlineMetric': ('frame_scores.npz', ('.npz', ))}


def set_dump(cfg: Config, path: str | None) -> None:
    """Write the test results in the format of the config's metric, or data samples (``.pkl``).

    Without a path, detections go to ``detections.json`` in the work dir and
    scores of online detection to ``frame_scores.npz``, so that they exist
    even if some videos could not be read.

    Raises:
        ConfigError: the suffix of the file is not accepted, or it cannot be written.
    """
    check_output('--dump', path)
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) \
        else [cfg.test_evaluator]
    evaluators = list(evaluators)
    takes_samples = bool(path) and path.endswith(('.pkl', '.pickle'))
    writers = [(evaluator, *DUMPS[name]) for evaluator in evaluators
               if (name := str(evaluator['type']).removeprefix('sbp_tad.')) in DUMPS]
    kinds = [suffix for _, _, suffixes in writers for suffix in suffixes]
    if takes_samples:
        evaluators.append(dict(type='DumpResults', out_file_path=path))
    elif path and not path.endswith(tuple(kinds)):
        names = ', '.join(str(evaluator['type']) for evaluator in evaluators)
        accepted = f'{", ".join(kinds)} or .pkl' if kinds else '.pkl'
        raise ConfigError(f'--dump writes {accepted}, got {path}: that is what {names} and '
                          'DumpResults write.')
    for evaluator, name, _ in writers:
        default = evaluator.get('out_file') or str(Path(cfg.work_dir) / name)
        evaluator['out_file'] = path if path and not takes_samples else default
    cfg.test_evaluator = evaluators


def set_raw_dump(cfg: Config, path: str | None) -> None:
    """Write the predictions of each test window before suppression (``.npz``).

    Raises:
        ConfigError: the file is not ``.npz`` or cannot be written, or no metric writes it.
    """
    if path is None:
        return
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) \
        else [cfg.test_evaluator]
    writers = [evaluator for evaluator in evaluators
               if evaluator['type'] in ('TADMetric', 'sbp_tad.TADMetric')]
    if not path.endswith('.npz') or not writers:
        raise ConfigError(f'--raw-dump writes an .npz file by TADMetric, got {path} and '
                          f'{[evaluator["type"] for evaluator in evaluators]}.')
    check_output('--raw-dump', path)
    for writer in writers:
        writer['raw_file'] = path
