"""What the released code masks, written from its description: tokens of `"{caption}"?` by itself, a longest common
subsequence of the characters of the space-joined ids as pylcs 0.1.1 traces it (a whole table by NumPy), every token
with an unmatched digit hidden, put down where these tokens first stand in the ids of the whole prompt."""

import numpy as np


def traced_from_the_end(a: str, b: str) -> np.ndarray:
    """Which characters of `a` are matched: equal ones always, otherwise up unless that is shorter."""
    letters = np.frombuffer(b.encode("ascii"), dtype=np.uint8)
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int32)
    for i, character in enumerate(a.encode("ascii")):
        # A cell is the largest of its left, upper and (where equal) upper left neighbour plus one.
        own = np.maximum(table[i, 1:], table[i, :-1] + (letters == character))
        table[i + 1, 1:] = np.maximum.accumulate(own)
    matched = np.zeros(len(a), dtype=bool)
    i, j = len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            matched[i] = True
        elif table[i - 1, j] >= table[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return matched


def released(ids: list[int], own: list[int], other: list[int]) -> np.ndarray | None:
    """Hidden tokens of the prompt `ids`; None where the released code finds its tokens nowhere and stops."""
    text = " ".join(map(str, own))
    matched = traced_from_the_end(text, " ".join(map(str, other)))
    starts = [i for i in range(len(ids) - len(own) + 1) if ids[i : i + len(own)] == own]
    if not starts:
        return None
    hidden = np.zeros(len(ids), dtype=bool)
    at = 0
    for k, number in enumerate(own):
        end = at + len(str(number))
        hidden[starts[0] + k] = not matched[at:end].all()
        at = end + 1
    return hidden
