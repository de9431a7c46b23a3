"""Hook that records the provenance of a run beside its results, before it begins."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from sbp_tad.provenance import add_provenance, file_fingerprint, list_fingerprint
from sbp_tad.registry import HOOKS


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Write ``provenance.json`` into the work dir, one entry for ``train`` and ``test`` each.

    An entry holds command, time, environment, git state, seed, config and
    checkpoint, and annotation, file sizes and protocol of the dataset. A later
    run of the same kind replaces the entry.
    """

    def before_train(self, runner: Runner) -> None:
        """Write the entry ``train``."""
        self._write(runner, 'train', runner.train_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Write the entry ``test``."""
        self._write(runner, 'test', runner.test_dataloader)

    @master_only
    def _write(self, runner: Runner, phase: str, loader: Any) -> None:
        cfg = runner.cfg
        add_provenance(
            runner.work_dir, phase, seed=runner.seed,
            deterministic=bool((cfg.get('randomness') or {}).get('deterministic')),
            checkpoint=cfg.get('load_from') and file_fingerprint(cfg.load_from),
            config=dict(file=cfg.filename, text=cfg.pretty_text),
            evaluator=cfg.get('test_evaluator'), datasets=dataset_facts(loader.dataset))


def dataset_facts(dataset: Any) -> list[dict[str, Any]]:
    """Return protocol and fingerprint of a dataset, or of each of its parts."""
    return [_facts(part) for part in dataset_parts(dataset)]


def dataset_parts(dataset: Any) -> Iterator[Any]:
    """Yield the dataset itself, or the datasets inside mmengine's wrappers."""
    inner = getattr(dataset, 'datasets', None) or \
        ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    if not inner:
        yield dataset
    for part in inner:
        yield from dataset_parts(part)


def _facts(dataset: Any) -> dict[str, Any]:
    facts = dict(type=type(dataset).__name__, items=len(dataset),
                 protocol=getattr(dataset, 'metainfo', {}))
    if getattr(dataset, 'ann_file', None):
        facts['annotation'] = file_fingerprint(dataset.ann_file)
    if hasattr(dataset, 'get_data_info'):
        names = (dataset.get_data_info(index).get('filename') for index in range(len(dataset)))
        facts['files'] = list_fingerprint(name for name in names if name)
    return facts
