"""Files of weights that a config names for the start of a training."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sbp_tad.errors import ConfigError

# Networks that read weights of images also where `pretrained` is None, unless `pretrained2d` is
# False.
IMAGE_NETWORKS = ('ResNetTSM', 'ResNetTIN', 'MobileNetV2TSM', 'SwinTransformer3D')
ELSEWHERE = re.compile(r'[a-z][\w+-]*:', re.IGNORECASE)  # https://, torchvision://, open-mmlab:


def check_weight_files(config: Mapping[str, Any]) -> None:
    """Check that the local files exist from which a training starts.

    These are ``load_from``, ``pretrained`` of a network and ``init_cfg`` of
    type ``Pretrained``.

    Raises:
        ConfigError: a file does not exist; the message names the key.
    """
    named = dict(_named_files('model', config.get('model')))
    if not config.get('resume'):
        named['load_from'] = config.get('load_from')
    for key, path in named.items():
        if isinstance(path, str) and not ELSEWHERE.match(path) and not Path(path).exists():
            owner = key.removesuffix('.checkpoint')
            raise ConfigError(f'{key} names the weights {path!r}, which do not exist. Give an '
                              f'existing file, or set {owner}=None to start without it.')


def _named_files(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys below a part of a config that name weights, with the file."""
    if isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _named_files(f'{key}.{number}', inner)
    if not isinstance(value, Mapping):
        return
    if value.get('type') == 'Pretrained':
        yield f'{key}.checkpoint', value.get('checkpoint')
    for name, inner in value.items():
        if name == 'pretrained':
            yield f'{key}.{name}', inner
        else:
            yield from _named_files(f'{key}.{name}', inner)
