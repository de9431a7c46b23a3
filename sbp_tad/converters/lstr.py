"""Names of LSTR's own code (amazon-research/long-short-term-transformer)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbp_tad.converters.renaming import Rule, third

ATTENTIONS = dict(self_attn='self_attention', multihead_attn='memory_attention')
MLP = {1: 0, 2: 3}  # linear1 and linear2 among the layers of the MLP


def decoder_rules(theirs: str, ours: str) -> list[Rule]:
    """Return the rules of a stack of ``nn.TransformerDecoderLayer``."""
    before, after = rf'{theirs}\.layers\.(\d+)', rf'{ours}.layers.{{layer}}'
    group = before.count('(') - before.count(r'\(')  # the number of the layer's group
    layer = after.format(layer=rf'\{group}')
    last = group + 1
    rules = [Rule(rf'{theirs}\.norm\.(weight|bias)', rf'{ours}.norm.\{group}')]
    for name, attention in ATTENTIONS.items():
        rules += [Rule(rf'{before}\.{name}\.in_proj_(weight|bias)',
                       rf'{layer}.{attention}.{part}.\{last}', third(number))
                  for number, part in enumerate(('query', 'key', 'value'))]
        rules.append(Rule(rf'{before}\.{name}\.out_proj\.(weight|bias)',
                          rf'{layer}.{attention}.out.\{last}'))
    rules += [Rule(rf'{before}\.linear{number}\.(weight|bias)', rf'{layer}.mlp.{place}.\{last}')
              for number, place in MLP.items()]
    rules += [Rule(rf'{before}\.norm{number + 1}\.(weight|bias)',
                   rf'{layer}.norms.{number}.\{last}') for number in range(3)]
    return rules


RULES = (
    Rule(r'feature_head_long\.input_linear\.0\.(weight|bias)', r'head.memory_projection.0.\1'),
    Rule(r'feature_head_work\.input_linear\.0\.(weight|bias)', r'head.working_projection.0.\1'),
    Rule(r'enc_queries\.(\d+)\.weight', r'head.queries.\1'),
    *decoder_rules(r'enc_modules\.(\d+)', r'head.stages.\1'),
    *decoder_rules(r'dec_modules', 'head.decoder'),
    Rule(r'classifier\.(weight|bias)', r'head.classifier.\1'),
)
LEFT_OUT = ('pos_encoding.pe', )  # a table of sines


def is_source(names: Mapping[str, Any]) -> bool:
    """Return whether a state dict is of this code."""
    return 'enc_queries.0.weight' in names and 'classifier.weight' in names


def head_sizes(weights: Mapping[str, Any], has_ambiguous_class: bool) -> dict[str, Any]:
    """Return the options of ``LSTRHead`` that the shapes of converted weights show.

    The number of heads shows nowhere.

    Args:
        weights: under our names.
        has_ambiguous_class: of the head; its last column is no class.
    """
    def layers(stack: str) -> int:
        return len({name.split('.layers.')[1].split('.')[0] for name in weights
                    if name.startswith(f'head.{stack}.layers.')})

    channels, in_channels = weights['head.working_projection.0.weight'].shape
    stages = sorted(name for name in weights if name.startswith('head.queries.'))
    return dict(
        num_classes=len(weights['head.classifier.weight']) - 1 - has_ambiguous_class,
        in_channels=in_channels, channels=channels,
        feedforward_channels=len(weights['head.decoder.layers.0.mlp.0.weight']),
        num_queries=tuple(len(weights[name]) for name in stages),
        num_encoder_layers=tuple(layers(f'stages.{stage}') for stage in range(len(stages))),
        num_decoder_layers=layers('decoder'))


# Recipes here by the columns of the classifier: THUMOS'14 has one of ambiguous frames.
RECIPES = {22: 'lstr_kinetics-features_512s+32_thumos14',
           31: 'lstr_kinetics-features_512s+32_tvseries'}
# Folders of features that the published code names, by the channels of both together.
STREAMS = {
    3072: ('rgb_kinetics_resnet50', 'flow_kinetics_bninception'),
    4096: ('rgb_anet_resnet50', 'flow_anet_resnet50'),
}
