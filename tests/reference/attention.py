"""Windowed attention one query at a time."""
import numpy as np


def local_attention(query, key, value, mask, window):
    """(T, D) arrays of one head and a mask (T,); rows of padded queries stay zero."""
    out = np.zeros_like(value)
    length, dim = query.shape
    for i in range(length):
        seen = [j for j in range(length)
                if mask[j] and (window <= 0 or abs(i - j) <= window // 2)]
        if mask[i]:
            scores = np.array([query[i] @ key[j] / np.sqrt(dim) for j in seen])
            weights = np.exp(scores - scores.max())
            out[i] = (weights / weights.sum()) @ value[seen]
    return out
