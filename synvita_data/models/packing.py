"""Texts of one video as branches of one sequence: what they share once, then each text's own tokens.

Positions are those of the plain sequences, gathered, so they restart behind the prefix with each branch.
Tokens hidden from attention are left out: nothing sees them and nothing reads them, and the positions of
the others keep the gap, which is what zeros in the attention mask do in the strategy `plain`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .prompting import PromptTokens

PREFIX = -1


@dataclass(frozen=True, slots=True, eq=False)
class PackedTexts:
    """The prefix of S0 tokens and the branches behind it, S tokens in all.

    Attributes:
        ids: int64 [S].
        slots: int64 [S], where each token stands in its own plain sequence.
        branch: int64 [S], which text a token belongs to; PREFIX for the shared ones.
        reads: for each text int64 [k], where to read its answer.
        prefix: S0.
    """

    ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    branch: NDArray[np.int64]
    reads: tuple[NDArray[np.int64], ...]
    prefix: int

    def __len__(self) -> int:
        return len(self.ids)


def common_prefix(prompts: Sequence[PromptTokens]) -> int:
    """How many leading tokens all prompts share, none of them hidden or read in any: at least the branches
    differ in what follows. Of the full token ids, so that tokens merged over the caption's edge stay exact."""
    limit = min(prompt.reads[0] for prompt in prompts)
    for prompt in prompts:
        if prompt.hidden.any():
            limit = min(limit, int(np.argmax(prompt.hidden)))
    first = prompts[0].ids[:limit]
    for prompt in prompts[1:]:
        different = np.flatnonzero(first[:limit] != prompt.ids[:limit])
        if len(different):
            limit = int(different[0])
    return limit


def pack(prompts: Sequence[PromptTokens], prefix: int | None = None) -> PackedTexts:
    """Pack the prompts of one video.

    Args:
        prompts: at least one.
        prefix: share this many tokens; None for as many as possible.
    """
    shared = common_prefix(prompts) if prefix is None else prefix
    ids, slots, branch = [prompts[0].ids[:shared]], [np.arange(shared)], [np.full(shared, PREFIX)]
    reads, length = [], shared
    # Behind the prefix each prompt keeps the tokens that are not hidden, in their own slots.
    for number, prompt in enumerate(prompts):
        kept = shared + np.flatnonzero(~prompt.hidden[shared:])
        ids.append(prompt.ids[kept])
        slots.append(kept)
        branch.append(np.full(len(kept), number))
        reads.append((length + np.searchsorted(kept, prompt.reads)).astype(np.int64))
        length += len(kept)
    return PackedTexts(
        ids=np.concatenate(ids),
        slots=np.concatenate(slots).astype(np.int64),
        branch=np.concatenate(branch).astype(np.int64),
        reads=tuple(reads),
        prefix=shared,
    )


def branch_mask(branch: Tensor, first_query: int = 0) -> Tensor:
    """Who sees whom: the prefix and one's own branch, up to oneself.

    Args:
        branch: int64 [S], as in PackedTexts.
        first_query: rows before it are left out.

    Returns:
        bool [S - first_query, S], true where a query (row) attends to a key (column).
    """
    slot = torch.arange(len(branch), device=branch.device)
    queries = branch[first_query:, None]
    allowed = (branch[None] == PREFIX) | (branch[None] == queries)
    return allowed & (slot[None] <= slot[first_query:, None])
