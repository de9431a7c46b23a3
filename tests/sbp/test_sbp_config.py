"""Every choice is checked in one place, with a sentence."""
import pytest

from sbp_tad.sbp import SBPConfig, SBPError


@pytest.mark.parametrize('keep_ratio', [0, -0.5, 1.0001, float('nan'), float('inf'), '0.5', True,
                                        None])
def test_keep_ratio_outside_of_its_range(keep_ratio):
    with pytest.raises(SBPError, match=r'keep_ratio must be a number in \(0, 1\], got'):
        SBPConfig(keep_ratio=keep_ratio)


def test_unknown_sampler_lists_the_known():
    with pytest.raises(SBPError, match="one of .*'uniform_jitter'.*, got 'stratified'"):
        SBPConfig(sampler='stratified')


@pytest.mark.parametrize('value', [0, -1, 2.0, True])
def test_clips_at_once_must_be_positive(value):
    with pytest.raises(SBPError, match='clips_at_once must be a whole number of at least 1'):
        SBPConfig(clips_at_once=value)


def test_rescale_must_be_a_switch():
    with pytest.raises(SBPError, match='rescale must be True or False, got 4'):
        SBPConfig(rescale=4)


def test_good_choices_pass():
    config = SBPConfig(keep_ratio=1, sampler='random', rescale=False, clips_at_once=1)
    assert (config.keep_ratio, config.sampler) == (1, 'random')


def test_unknown_mode_lists_the_known():
    with pytest.raises(SBPError, match="mode must be one of .'direct', 'deferred'., got 'late'"):
        SBPConfig(mode='late')


def test_gradient_sampler_needs_deferred():
    with pytest.raises(SBPError, match="sampler 'gradient' needs .* set mode='deferred'"):
        SBPConfig(sampler='gradient')
    assert SBPConfig(sampler='gradient', mode='deferred').sampler == 'gradient'


def test_clips_at_once_is_of_both_passes():
    assert (SBPConfig().clips_without_grad, SBPConfig().clips_with_grad) == (16, 4)
    config = SBPConfig(mode='deferred', clips_at_once=7)
    assert (config.clips_without_grad, config.clips_with_grad) == (7, 7)
