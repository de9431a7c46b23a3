"""Frames scored by windows that slide by one frame, each encoded anew."""


def history_of_window(start, memory_frames, memory_stride, history_from):
    """Frames of a history, oldest first, None for a missing one; lists and loops only."""
    oldest = max(0, start - memory_frames * memory_stride)
    if history_from == 'working':
        wanted = [start - memory_stride * k for k in range(memory_frames, 0, -1)]
        return [frame if frame >= 0 else None for frame in wanted]
    if history_from == 'oldest':
        found = [frame for frame in range(oldest, start) if (frame - oldest) % memory_stride == 0]
        return [None] * (memory_frames - len(found)) + found
    if start == 0:
        return [None] * memory_frames
    step = (start - 1 - oldest) / max(1, memory_frames - 1)
    found = [int(k * step + oldest) for k in range(memory_frames - 1)]
    found.append(start - 1 if memory_frames > 1 else oldest)
    repeated = max(0, found.count(0) - 1)  # only the last of the first frames counts
    return [None] * repeated + found[repeated:]


def slide(score_last, num_frames, length, memory_frames, memory_stride, history_from):
    """Scores of all frames; ``score_last(history, working)`` takes lists of frame numbers."""
    scores = []
    for frame in range(length):
        start = max(0, frame - num_frames + 1)
        history = history_of_window(start, memory_frames, memory_stride, history_from)
        scores.append(score_last(history, list(range(start, frame + 1))))
    return scores
