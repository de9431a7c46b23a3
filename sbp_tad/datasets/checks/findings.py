"""What a check of a dataset can find, how grave each kind is and what to do about it."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SEVERITIES = ('error', 'warning', 'note')


# kind -> (severity, what to do). An error stops or falsifies training or
# testing, a warning usually is a mistake, a note is worth knowing.
KINDS: dict[str, tuple[str, str]] = {
    'malformed-entry': ('error', 'Correct the entry; the dataset refuses the whole file.'),
    'empty-subset': ('error', 'Correct the name of the subset; upper and lower case count.'),
    'shared-subset': ('error', 'Train and test on different subsets.'),
    'reversed-segment': ('error', 'Swap or remove the ends; the dataset refuses them.'),
    'zero-length-segment': ('error', 'Give the segment a length or remove it.'),
    'outside-segment': ('error', "Correct it, or set out_of_range='clip' in the dataset."),
    'unknown-label': ('error', 'Correct the label, or add it to the classes or ignored_labels.'),
    'missing-file': ('error', 'Bring the file, correct the folder, or remove the video.'),
    'unreadable-file': ('error', 'Replace or re-encode the file, or remove the video.'),
    'beyond-file': ('error', 'The file is not the one that was annotated: replace it.'),
    'clipped-segment': ('warning', "out_of_range='clip' cuts or drops it; better correct it."),
    'foreign-annotation': ('warning', 'Most likely of another video: exclude the video.'),
    'only-ignored-labels': ('warning', 'Nothing of it counts: exclude it from testing.'),
    'duplicate-segment': ('warning', 'Remove the copy; evaluators treat it differently.'),
    'overlap-same-label': ('warning', 'Join the two, or correct their ends.'),
    'timing-mismatch': ('warning', 'Correct duration, fps or num_frames, or leave one out.'),
    'implausible-fps': ('warning', 'Correct fps, or leave it out to have it read from the file.'),
    'fps-mismatch': ('warning', 'Frames are read at annotated seconds; correct fps all the same.'),
    'duration-mismatch': ('warning', 'Check that file and annotation belong together.'),
    'label-spelling': ('warning', 'Write the label in one way.'),
    'subset-spelling': ('warning', 'Write the subset in one way; equality counts.'),
    'class-without-segments': ('warning', 'Annotate the class in this subset or leave it out.'),
    'rare-class': ('warning', 'Annotate more, or leave the class out.'),
    'class-imbalance': ('warning', 'Annotate more of the rare, or use ClassBalancedDataset.'),
    'unlisted-file': ('warning', 'Annotate the video ("annotations": [] for none) or remove it.'),
    'overlap-other-label': ('note', 'Fine where two actions happen at once.'),
    'video-without-segments': ('note', 'Fine; training leaves it out by default.'),
    'excluded-video': ('note', 'The config leaves it out; it was not checked.'),
    'absent-subset': ('note', 'Fine where the other subsets are those meant.'),
    'unused-subset': ('note', 'No data set that was checked takes these videos.'),
    'unknown-timing': ('note', 'Duration or fps is read from the file where it is absent.'),
}


@dataclass(frozen=True)
class Finding:
    """One inconsistency.

    Args:
        kind: one of ``KINDS``.
        subject: the video, class, subset or file at fault.
        message: what is there and what should be.
    """

    kind: str
    subject: str
    message: str

    @property
    def severity(self) -> str:
        """``'error'``, ``'warning'`` or ``'note'``."""
        return KINDS[self.kind][0]

    @property
    def remedy(self) -> str:
        """What to do about findings of this kind."""
        return KINDS[self.kind][1]


def is_clean(findings: Iterable[Finding], strict: bool = False) -> bool:
    """Whether there is no error, and, strictly, no warning; notes never count."""
    bad = ('error', 'warning') if strict else ('error',)
    return not any(finding.severity in bad for finding in findings)
