"""What all prompts of a kind begin with, read by a model once and not for every caption.

A prompt is hundreds of tokens of rules and examples, and a caption of twenty behind them. The keys and values of the
beginning are the same for every caption, so they are computed once and put in front of each row of a batch; rows of
different kinds stand in one batch, those with shorter beginnings padded on the left.

Done only where it gives what the model gives without it, which is tried on one prompt: a model may count positions in its
own way, or keep only the last tokens.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Beginnings:
    """Keys and values of each kind's beginning.

    Args:
        tokens: kind -> tokens that all its prompts begin with.
        model: of transformers.
        device: where token ids go.

    Attributes:
        tokens: kind -> tokens; of kinds without one in common there is none.
        length: of the longest; every row of a batch is padded to it.
    """

    def __init__(self, tokens: Mapping[str, list[int]], model: Any, device: "torch.device") -> None:
        import torch

        self.tokens = {kind: ids for kind, ids in tokens.items() if ids}
        self.length = max(map(len, self.tokens.values()), default=0)
        with torch.inference_mode():
            self._kept = {
                kind: model(input_ids=torch.tensor([ids], device=device), use_cache=True).past_key_values
                for kind, ids in self.tokens.items()
            }

    @property
    def usable(self) -> bool:
        """Whether the model keeps all keys and values of each layer, and nothing else."""
        from transformers.cache_utils import DynamicCache, DynamicLayer

        return bool(self._kept) and all(
            type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)
            for cache in self._kept.values()
        )

    def covered(self, kind: str, ids: Sequence[int]) -> int:
        """How many tokens of a prompt are read already: those of its kind's beginning, or none of another prompt."""
        own = self.tokens.get(kind, [])
        return len(own) if len(own) < len(ids) and list(ids[: len(own)]) == own else 0

    def cache(self, kinds: Sequence[str | None]) -> Any:
        """A cache of transformers for a batch.

        Args:
            kinds: of each row; None for one that has no beginning here.
        """
        import torch
        from torch.nn.functional import pad
        from transformers import DynamicCache

        made = DynamicCache()
        some = next(iter(self._kept.values()))
        for number, layer in enumerate(some.layers):
            states = []
            for kind in kinds:
                if kind is None:
                    empty = layer.keys.new_zeros(1, layer.keys.shape[1], self.length, layer.keys.shape[3])
                    states.append((empty, empty[..., :1].expand(*empty.shape[:3], layer.values.shape[3])))
                    continue
                own = self._kept[kind].layers[number]
                front = (0, 0, self.length - own.keys.shape[2], 0)
                states.append((pad(own.keys, front), pad(own.values, front)))
            keys, values = (torch.cat(each) for each in zip(*states, strict=True))
            made.update(keys, values, number)
        return made


def common_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with.

    Example:
        >>> common_beginning([[5, 6, 7, 8], [5, 6, 9]])
        [5, 6]
    """
    first, *others = map(list, prompts)
    for place, token in enumerate(first):
        if any(place >= len(other) or other[place] != token for other in others):
            return first[:place]
    return first
