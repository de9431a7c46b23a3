"""Each tool that reads a checkpoint lets the user trust its source."""
import pytest


@pytest.mark.parametrize('tool, arguments', [
    ('train', ['CONFIG', '--resume', 'EVIL']), ('test', ['CONFIG', 'EVIL']),
    ('infer', ['EVIL', '--config', 'CONFIG', '--checkpoint', 'EVIL']),
    ('extract_features', ['CONFIG', 'EVIL', '--out', 'OUT'])])
def test_every_tool_offers_the_option(load_tool, tool, arguments):
    parser = load_tool(tool).build_parser()
    assert not parser.parse_args(arguments).trust_checkpoint
    assert parser.parse_args([*arguments, '--trust-checkpoint']).trust_checkpoint
