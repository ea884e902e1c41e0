"""Three strategies to compute the hidden states at the answer positions; the numbers are the same where no dropout acts.

- `plain`: one sequence a pair, through the stock model with its own mask: the reference.
- `packed`: one sequence a video, its texts as branches behind what they share. It trains: gradients and
  gradient checkpointing work. With dropout, its texts share one draw for the prefix; the plain ones draw each.
- `cached`: the shared prefix once into a key-value cache, then all texts packed in one row against it. No
  gradients through gradient checkpointing (it drops the cache).

All take videos with the prompts of their texts and give [reads, D]: the states at every prompt's reads, prompt
by prompt and video by video, on the device of the last layer.
"""

import inspect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from ..errors import SynvitaError
from .attention import SPLIT, as_additive
from .families.family import Family, Features, PreparedVideo
from .prompting import PromptTokens

STRATEGIES = ("plain", "packed", "cached")
PREFIX = -1  # the branch of shared tokens


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


@dataclass(frozen=True, slots=True, eq=False)
class EncodedVideo:
    """A video ready for the language model: what its processor made of it, and the tower's features if they
    are known already (the strategy `plain` then does not run the tower)."""

    prepared: PreparedVideo
    features: Features | None = None


def plain(
    family: Family, videos: Sequence[EncodedVideo], prompts: Sequence[Sequence[PromptTokens]], batch: int = 1
) -> Tensor:
    """One sequence a pair, at most `batch` of them at once, padded on the right; the vision tower runs for every
    pair of a video without features."""
    pairs = [(v, prompt) for v, own in zip(videos, prompts, strict=True) for prompt in own]
    states = []
    # Each batch is padded on the right; hidden tokens are zeros in the attention mask.
    for chunk in _batches(pairs, batch):
        length = max(len(prompt.ids) for _, prompt in chunk)
        ids = torch.zeros(len(chunk), length, dtype=torch.long)
        mask = torch.zeros(len(chunk), length, dtype=torch.long)
        positions = []
        for row, (video, prompt) in enumerate(chunk):
            own = torch.from_numpy(prompt.ids)
            ids[row, : len(own)] = own
            mask[row, : len(own)] = torch.from_numpy(~prompt.hidden).long()
            positions.append(_padded(family.positions(own, video.prepared), length))
        last = _last_states(
            family,
            ids,
            [video for video, _ in chunk],
            attention_mask=_on(family, mask),
            position_ids=_on(family, torch.stack(positions, dim=-2)),
            use_cache=False,
        )
        states.append(_read(last, [(row, prompt.reads) for row, (_, prompt) in enumerate(chunk)]))
    return torch.cat(states)


def packed(
    family: Family, videos: Sequence[EncodedVideo], prompts: Sequence[Sequence[PromptTokens]]
) -> Tensor:
    """One row a video, its texts as branches; rows are padded on the right."""
    packs = [pack(own) for own in prompts]
    length, prefix = max(map(len, packs)), min(each.prefix for each in packs)
    ids = torch.zeros(len(packs), length, dtype=torch.long)
    # Padding belongs to a branch of its own, so that no row of the mask is empty (that would give NaN).
    branch = torch.full((len(packs), length), max(len(own) for own in prompts))
    positions = []
    for row, (video, own, each) in enumerate(zip(videos, prompts, packs, strict=True)):
        ids[row, : len(each)] = torch.from_numpy(each.ids)
        branch[row, : len(each)] = torch.from_numpy(each.branch)
        positions.append(_padded(_gathered(family, video, own, each), length))
    split = _attention(family) == SPLIT
    branch = _on(family, branch)
    mask = torch.stack([branch_mask(row, prefix if split else 0) for row in branch])[:, None]
    last = _last_states(
        family,
        ids,
        videos,
        attention_mask=_mask(family, mask),
        position_ids=_on(family, torch.stack(positions, dim=-2)),
        use_cache=False,
        **({"prefix_length": prefix} if split else {}),
    )
    return _read(last, [(row, reads) for row, each in enumerate(packs) for reads in each.reads])


def cached(
    family: Family,
    videos: Sequence[EncodedVideo],
    prompts: Sequence[Sequence[PromptTokens]],
    branch_tokens: int = 4096,
) -> Tensor:
    """A cache a video, its texts packed in rows of at most `branch_tokens` (a longer text has its own row)."""
    states = []
    for video, own in zip(videos, prompts, strict=True):
        prefix = common_prefix(own)
        cache = _prefill(family, video, own[0], prefix)
        for chunk in chunks(own, prefix, branch_tokens):
            states.append(_behind(family, video, chunk, cache, prefix))
    return torch.cat(states)


def chunks(prompts: Sequence[PromptTokens], prefix: int, branch_tokens: int) -> list[Sequence[PromptTokens]]:
    """Prompts in order, in groups whose tokens behind the prefix are at most `branch_tokens` together."""
    groups: list[list[PromptTokens]] = []
    total = 0
    for prompt in prompts:
        own = len(prompt.ids) - prefix
        if not groups or total + own > branch_tokens:
            groups.append([])
            total = 0
        groups[-1].append(prompt)
        total += own
    return list(groups)


def _batches(
    pairs: Sequence[tuple[EncodedVideo, PromptTokens]], batch: int
) -> list[list[tuple[EncodedVideo, PromptTokens]]]:
    """Pairs in order, at most `batch` together and only videos that stack: LLaVA's want equally many frames."""
    groups: list[list[tuple[EncodedVideo, PromptTokens]]] = []
    before = None
    for video, prompt in pairs:
        shapes = {name: value.shape[1:] for name, value in video.prepared.inputs.items()}
        if not groups or len(groups[-1]) == batch or shapes != before:
            groups.append([])
        groups[-1].append((video, prompt))
        before = shapes
    return groups


def _prefill(family: Family, video: EncodedVideo, prompt: PromptTokens, prefix: int) -> DynamicCache:
    ids = torch.from_numpy(prompt.ids)
    cache = DynamicCache(config=family.model.config)
    _last_states(
        family,
        ids[None, :prefix],
        [video],
        position_ids=_on(family, family.positions(ids, video.prepared)[..., None, :prefix]),
        past_key_values=cache,
        use_cache=True,
    )
    return cache


def _behind(
    family: Family, video: EncodedVideo, prompts: Sequence[PromptTokens], cache: DynamicCache, prefix: int
) -> Tensor:
    """[reads, D] of texts behind a cached prefix, which stays as it was."""
    each = pack(prompts, prefix)
    mask = branch_mask(_on(family, torch.from_numpy(each.branch)), prefix)[None, None]
    last = _last_states(
        family,
        torch.from_numpy(each.ids[None, prefix:]),
        [],
        attention_mask=_mask(family, mask),
        position_ids=_on(family, _gathered(family, video, prompts, each)[..., None, prefix:]),
        past_key_values=_view(cache),
        use_cache=True,
    )
    return _read(last, [(0, reads - prefix) for reads in each.reads])


def _view(cache: DynamicCache) -> DynamicCache:
    """A cache with the same keys and values; what is appended to it does not reach the first."""
    view = DynamicCache()
    layers: list[Any] = cache.layers
    for layer in layers:
        own = type(layer)()
        own.lazy_initialization(layer.keys, layer.values)
        own.keys, own.values = layer.keys, layer.values
        view.layers.append(own)
    return view


def _gathered(
    family: Family, video: EncodedVideo, prompts: Sequence[PromptTokens], packed_texts: PackedTexts
) -> Tensor:
    """Positions of packed tokens: those of the plain sequence, which are the same for every text of a video
    up to its length, because text counts up by one."""
    longest = max(prompts, key=lambda prompt: len(prompt.ids))
    positions = family.positions(torch.from_numpy(longest.ids), video.prepared)
    return positions[..., torch.from_numpy(packed_texts.slots)]


def _last_states(family: Family, ids: Tensor, videos: Sequence[EncodedVideo], **inputs: Any) -> Tensor:
    """Last hidden states [B, S, D] of token ids (int64 [B, S], on the CPU) and the videos among them, in order.

    Pixels go into the stock forward. Features are put at the video tokens here, as that forward does: not all
    of its releases take them, and one that does not would drop them and go on without the video.
    """
    if any(video.features is None for video in videos):
        pixels = _pixel_inputs(family, videos)
        _check_named(family.backbone, pixels)
        output = family.backbone(input_ids=_on(family, ids), **pixels, **inputs)
        return cast(Tensor, output.last_hidden_state)
    # A video token outside the vocabulary (mPLUG-Owl's -2) has no row; the features take its place.
    embedded = family.model.get_input_embeddings()(_on(family, ids.clamp(min=0)))
    if videos := [video for video in videos if video.prepared.runs]:
        features = [  # a feature cache gives them on the CPU
            {name: _on(family, value) for name, value in video.features.items()}
            for video in videos
            if video.features is not None
        ]
        at_video = ids == family.video_token_id
        tokens = family.tokens(features)
        if tokens.shape != (int(at_video.sum()), embedded.shape[-1]):
            raise SynvitaError(
                "the features of videos do not fit their tokens",
                found=f"features {list(tokens.shape)}",
                expected=[int(at_video.sum()), embedded.shape[-1]],
                fix="Features of another model or of other frames? Encode the videos again",
            )
        at_video = at_video.to(embedded.device)
        embedded = embedded.masked_scatter(at_video[..., None], tokens.to(embedded))
        inputs |= family.beside_tokens(features, at_video)
    _check_named(family.language_model, inputs.keys() - {"prefix_length"})  # which `split_attention` takes
    output = family.language_model(inputs_embeds=embedded, **inputs)
    return cast(Tensor, output.last_hidden_state)


def _check_named(module: Any, names: Collection[str]) -> None:
    """A stock forward swallows an argument that it does not know, and would answer without it.

    Raises:
        SynvitaError: the forward has no parameter of such a name.
    """
    # Of a module's class: hooks of device maps replace its forward.
    forward = getattr(type(module), "forward", module)
    unknown = set(names) - inspect.signature(forward).parameters.keys()
    if unknown:
        raise SynvitaError(
            "this release of transformers would not see all of the input",
            found=f"{forward.__qualname__} has no parameter {', '.join(sorted(unknown))}",
            fix="Releases 5.17 to 5.23 of transformers are known to work",
        )


def _pixel_inputs(family: Family, videos: Sequence[EncodedVideo]) -> dict[str, Tensor]:
    """The videos as the stock forward takes them, as one batch."""
    dtype = family.model.dtype
    inputs = {}
    for name in videos[0].prepared.inputs:
        value = _on(family, torch.cat([video.prepared.inputs[name] for video in videos]))
        inputs[name] = value.to(dtype) if value.is_floating_point() else value
    return inputs


def _attention(family: Family) -> str:
    return str(family.model.config.get_text_config(decoder=True)._attn_implementation)


def _mask(family: Family, mask: Tensor) -> Tensor:
    return as_additive(mask, family.model.dtype) if _attention(family) == "eager" else mask


def _read(states: Tensor, reads: Iterable[tuple[int, Iterable[int]]]) -> Tensor:
    """[n, S, D] and pairs of a row and positions in it -> [positions in all, D]."""
    width = states.shape[1]
    places = [row * width + int(position) for row, positions in reads for position in positions]
    return rows(states.flatten(0, 1), places)


def rows(states: Tensor, places: Sequence[int]) -> Tensor:
    """[n, D] and numbers of rows -> [places, D]; the host does not wait for the device."""
    return states.index_select(0, _sent(torch.tensor(places, dtype=torch.long), states.device))


def _padded(positions: Tensor, length: int) -> Tensor:
    """[..., n] -> [..., length]; what padding says does not matter."""
    return torch.nn.functional.pad(positions, (0, length - positions.shape[-1]))


def _on(family: Family, value: Tensor) -> Tensor:
    return _sent(value, family.model.get_input_embeddings().weight.device)


def _sent(value: Tensor, device: torch.device) -> Tensor:
    """On the device. A plain copy to a GPU first waits for all its work; this one is put in line, and CUDA takes the
    bytes of unpinned memory before the call returns."""
    return value.to(device, non_blocking=device.type == "cuda" and value.device.type == "cpu")
