"""Kinds of findings of a dataset check, with their severity and remedy."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SEVERITIES = ('error', 'warning', 'note')


# kind -> (severity, remedy). An error stops or falsifies training or testing,
# a warning is usually a mistake, a note is for information.
KINDS: dict[str, tuple[str, str]] = {
    'malformed-entry': ('error', 'Correct the entry; the dataset refuses the whole file.'),
    'empty-subset': ('error', 'Correct the name of the subset.'),
    'shared-subset': ('error', 'Train and test on different subsets.'),
    'reversed-segment': ('error', 'Swap or remove the ends; the dataset refuses them.'),
    'outside-segment': ('error', "Correct it, or set out_of_range='clip' in the dataset."),
    'unknown-label': ('error', 'Correct the label, or add it to the classes or ignored_labels.'),
    'missing-file': ('error', 'Add the file, correct the folder, or remove the video.'),
    'unsafe-id': ('error', 'Rename the video; the dataset refuses the name.'),
    'unreadable-file': ('error', 'Replace or re-encode the file, or remove the video.'),
    'beyond-file': ('error', 'The file is not the one that was annotated: replace it.'),
    'zero-length-segment': ('warning', 'The dataset drops it: give it a length or remove it.'),
    'clipped-segment': ('warning', "out_of_range='clip' clips or drops it; better correct it."),
    'foreign-annotation': ('warning', 'Most likely it belongs to another video: exclude it.'),
    'only-ignored-labels': ('warning', 'No segment of it is evaluated: exclude it from testing.'),
    'duplicate-segment': ('warning', 'Remove the copy; evaluators treat copies differently.'),
    'overlap-same-label': ('warning', 'Join the two, or correct their ends.'),
    'timing-mismatch': ('warning', 'Correct duration, fps or num_frames, or leave one out.'),
    'implausible-fps': ('warning', 'Correct fps, or leave it out to have it read from the file.'),
    'fps-mismatch': ('warning', 'Frames are read at annotated seconds; correct fps all the same.'),
    'duration-mismatch': ('warning', 'Check that file and annotation belong together.'),
    'label-spelling': ('warning', 'Use one spelling of the label.'),
    'subset-spelling': ('warning', 'Use one spelling of the subset; names must be equal.'),
    'class-without-segments': ('warning', 'Annotate the class in this subset or leave it out.'),
    'rare-class': ('warning', 'Annotate more segments, or leave the class out.'),
    'class-imbalance': ('warning', 'Annotate more of the rare class, or use ClassBalancedDataset.'),
    'other-file-name': ('warning', 'Set filename_template in the dataset, or rename the files.'),
    'unlisted-file': ('warning', 'Annotate the video ("annotations": [] for none) or remove it.'),
    'overlap-other-label': ('note', 'Fine if two actions happen at the same time.'),
    'video-without-segments': ('note', 'Fine; training leaves it out by default.'),
    'excluded-video': ('note', 'The config leaves it out; it was not checked.'),
    'absent-subset': ('note', 'Fine if the other subsets are the intended ones.'),
    'unused-subset': ('note', 'No checked data set uses these videos.'),
    'variable-frame-rate': ('note', 'Fine: every frame is read at its presentation time.'),
    'late-track': ('note', 'Fine: frames are read at the seconds at which a player shows them.'),
    'unknown-timing': ('note', 'Duration or fps is read from the video file if it is absent.'),
}


@dataclass(frozen=True)
class Finding:
    """One inconsistency.

    Args:
        kind: one of ``KINDS``.
        subject: the video, class, subset or file with the fault.
        message: what was found and what is expected.
    """

    kind: str
    subject: str
    message: str

    @property
    def severity(self) -> str:
        """Return ``'error'``, ``'warning'`` or ``'note'``."""
        return KINDS[self.kind][0]

    @property
    def remedy(self) -> str:
        """Return the remedy for findings of this kind."""
        return KINDS[self.kind][1]


def is_clean(findings: Iterable[Finding], strict: bool = False) -> bool:
    """Return True if there is no error and, with ``strict``, no warning; ignore notes."""
    bad = ('error', 'warning') if strict else ('error',)
    return not any(finding.severity in bad for finding in findings)
