#!/usr/bin/env python
"""Convert a published checkpoint, so that tools/test.py, infer.py and train.py take it.

SOURCE is the code base: actionformer, opentad (ActionFormer and AdaTAD), vedatad (DaoTAD), lstr,
videomae, sbp, mmaction (recognizers of mmaction 0.x and 1.x), or auto. Averaged weights are taken
where there are any. The config that fits is written beside OUT. A checkpoint that does not fill it
is refused.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from sbp_tad.apis.command_line import announce, run_main
from sbp_tad.apis.named_files import check_output
from sbp_tad.checkpoint_safety import TrustCheckpoints

SOURCES = ('auto', 'actionformer', 'opentad', 'vedatad', 'lstr', 'videomae', 'sbp', 'mmaction')


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', choices=SOURCES, help='code base of the checkpoint')
    parser.add_argument('checkpoint', type=Path, help='published checkpoint')
    parser.add_argument('out', type=Path, help='file to write, such as converted.pth')
    parser.add_argument('--config', help='config to fill, by path or name (default: the recipe of '
                                         'the published network)')
    parser.add_argument('--back', type=Path, metavar='PUBLISHED',
                        help='the other way: CHECKPOINT is ours, write it under the names of this '
                             'published checkpoint')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoints)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Convert, write the checkpoint and its config, and print what became of the weights."""
    arguments = build_parser().parse_args(argv)
    check_output('OUT', arguments.out)
    announce(f'Loading PyTorch to convert {arguments.checkpoint}')
    # Imported after the options are read: --help answers at once.
    from sbp_tad.apis import checkpoint_conversion
    if arguments.back:
        checkpoint_conversion.write_back(arguments.checkpoint, arguments.back, arguments.out)
        print(f'wrote {arguments.out} under the names of {arguments.back}')
        return 0
    source = None if arguments.source == 'auto' else arguments.source
    converted = checkpoint_conversion.convert_checkpoint(arguments.checkpoint, source,
                                                         arguments.config)
    config = checkpoint_conversion.write_checkpoint(converted, arguments.out)
    found = converted.conversion
    container = f' ({found.container})' if found.container else ''
    left_out = f', {len(found.left_out)} left out, which no detector uses' if found.left_out else ''
    print(f'{len(found.weights)} weights of {found.source}{container}, none unknown, none missing'
          f'{left_out}')
    print(f'wrote {arguments.out} and its config {config}')
    if unknown := checkpoint_conversion.unknown_classes(converted):
        announce(f'Warning: the names of its {unknown} classes are unknown, and the data of the '
                 f'recipe have others. Write them into {config} in place of class_0 to '
                 f'class_{unknown - 1}, in the order of the published code, and set ann_file to '
                 'their annotation before you test')
    elif classes := converted.changes.get('head', {}).get('num_classes'):
        names = 'data_info.json names them' if found.source == 'lstr' else \
            'set dataset.metainfo.classes for another set than that of the recipe'
        print(f'its data must have {classes} classes, in the order of the published code; {names}')
    return 0


if __name__ == '__main__':
    run_main(main)
