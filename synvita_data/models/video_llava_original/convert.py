"""The released checkpoint of the original Video-LLaVA as a folder that every Auto class loads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AddedToken,
    VideoLlavaImageProcessor,
    VideoLlavaProcessor,
    VideoLlavaVideoProcessor,
)

from ...errors import SynvitaError
from ...files import new_folder
from ..released import CONFIG, TRAINING_ARGUMENTS
from ..released.conversion import (
    PROVENANCE,
    SHARD_BYTES,
    check_answers,
    provenance,
    read_llama_tokenizer,
    usable,
    write_json,
    write_shards,
)
from ..released.weights import WHOLE_MODEL, folder_with, used_files
from .configuration import VideoLlavaOriginalVideoConfig
from .names import with_more_rows
from .released import (
    check_all_weights,
    full_config,
    read_settings,
    read_towers,
    read_weights,
    tower_config,
)

# Rows of the vocabulary come in such portions, as in transformers' port: 32000 and three tokens become 32064.
ROWS = 64
TOKENS = ("<image>", "<video>", "<pad>")
# How the released evaluation asks: what `synvita evaluate` then does by itself.
ASKED = {"prompt": "video-llava-eval", "placeholder_space": "original"}


def convert_video_llava(
    source: str | Path,
    out: str | Path,
    *,
    towers: str | Path | None = None,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Convert a folder as released (`LanguageBind/Video-LLaVA-7B`) into `out`, all of it or nothing.

    Weights keep their dtype. The vocabulary grows by `<image>`, `<video>` and `<pad>`, whose rows are the mean of the
    others: they change no score, because only Yes and No are compared. Memory holds one file of `shard_bytes`.

    Args:
        source: the folder as released; its weights are safetensors or `.bin`, both towers among them.
        out: the folder to make.
        towers: a snapshot of `LanguageBind/LanguageBind_Video_merge`, from which the released evaluation takes the
            video tower: its settings and weights are then used, and compared with the checkpoint's own.
        shard_bytes: of a file of weights, at most.
        say: takes lines on the progress.

    Returns:
        What was written: `tensors`, `parameters` (numbers in them), `dtypes`, `shards` (files of weights), `answers`
        (the ids of Yes and No), and `towers` (what the comparison found, None without one).

    Raises:
        SynvitaError: `out` is there already; weights are missing, left over, unknown, of another shape or not finite;
            no LLaMA tokenizer; files that cannot be read.
    """
    source, out = Path(source), Path(out)
    with new_folder(out) as folder:
        raw = read_settings(source)
        with usable(source / CONFIG):
            vocabulary = int(raw.get("vocab_size", 32000))
        tokenizer = read_llama_tokenizer(source, padding_side="left")
        answers = check_answers(tokenizer, vocabulary, source)
        weights = read_weights(source)
        # The video tower: the checkpoint's own, or the one that the released evaluation loads in its place.
        compared = None
        if towers is None:
            video = tower_config(weights, source)
            say(
                f"The video tower by its weights: {video.num_hidden_layers} layers, {video.num_frames} frames together. "
                f"Assumed, for weights do not show it: {video.hidden_act}, {video.num_attention_heads} heads, "
                f"eps {video.layer_norm_eps:g}; --towers reads them from LanguageBind_Video_merge"
            )
        else:
            video, own = read_towers(Path(towers))
            compared = _compare(weights, own, say)
            if video.force_patch_dropout:
                say(
                    f"In training the original drops {video.force_patch_dropout:.0%} of the patches "
                    "(force_patch_dropout); nothing is dropped here, and evaluation drops none"
                )
            weights |= own  # in its own dtype: released, it goes to bf16 by way of fp16
        # Rows and tokens for media.
        for token in TOKENS[:2]:
            tokenizer.add_tokens([AddedToken(token, special=True, normalized=False)], special_tokens=True)
        tokenizer.add_special_tokens({"pad_token": TOKENS[2]})
        ids = [tokenizer.convert_tokens_to_ids(token) for token in TOKENS]
        if ids != [vocabulary, vocabulary + 1, vocabulary + 2]:
            raise SynvitaError(
                "the tokenizer has tokens of its own behind the vocabulary",
                file=source,
                found=dict(zip(TOKENS, ids, strict=True)),
                expected=f"{vocabulary} to {vocabulary + 2}",
            )
        rows = -(-(vocabulary + len(TOKENS)) // ROWS) * ROWS
        weights = with_more_rows(weights, vocabulary, rows)
        with usable(source / CONFIG):
            config = full_config(raw, video, vocabulary=rows, image_token=ids[0], pad_token=ids[2])
            check_all_weights(weights, config, source)
        dtypes = tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}))
        parameters = sum(tensor.numel() for tensor in weights.values())
        say(f"{len(weights):,} weights with {parameters:,} numbers, all that the model has")
        shards = write_shards(folder, weights, shard_bytes)
        # Settings, tokenizer and processor, and how the released evaluation asks.
        config.architectures = ["VideoLlavaOriginalForConditionalGeneration"]
        config.dtype = str(weights["lm_head.weight"].dtype).removeprefix("torch.")
        config.save_pretrained(folder)
        tokenizer.model_max_length = config.text_config.max_position_embeddings
        make_processor(tokenizer, video).save_pretrained(folder)
        write_json(folder / TRAINING_ARGUMENTS, {**ASKED, "frames": video.num_frames})
        made_of = {
            "what": "the original Video-LLaVA",
            "checkpoint": provenance(source, used_files(source)),
            "tokenizer": {"legacy": bool(getattr(tokenizer, "legacy", False))},
        }
        if towers is not None:
            place = folder_with(Path(towers), WHOLE_MODEL)
            made_of["towers"] = {**provenance(place, used_files(place)), "compared": compared}
        write_json(folder / PROVENANCE, made_of)
    say(f"Wrote {out}: {shards} file{'s' if shards > 1 else ''} of weights in {', '.join(dtypes)}")
    return {
        "tensors": len(weights),
        "parameters": parameters,
        "dtypes": dtypes,
        "shards": shards,
        "answers": answers,
        "towers": compared,
    }


def make_processor(tokenizer: Any, tower: VideoLlavaOriginalVideoConfig) -> VideoLlavaProcessor:
    """transformers' processor of Video-LLaVA for a tower of this size; the original has none in its folder.

    Args:
        tokenizer: with `<image>` and `<video>`.
        tower: of the video.
    """
    side = tower.image_size
    pixels: dict[str, Any] = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return VideoLlavaProcessor(
        image_processor=VideoLlavaImageProcessor(**pixels),
        video_processor=VideoLlavaVideoProcessor(**pixels),
        tokenizer=tokenizer,
        patch_size=tower.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def _compare(
    weights: dict[str, Tensor], towers: Mapping[str, Tensor], say: Callable[[str], None]
) -> dict[str, Any]:
    """How the checkpoint's video tower differs from the snapshot's, said and given back; see `convert_video_llava`.

    Raises:
        SynvitaError: another shape, or names that only one of them has.
    """
    prefix = "model.video_tower."
    own = {name: tensor for name, tensor in weights.items() if name.startswith(prefix)}
    if not own:
        say(
            f"The checkpoint holds no video tower: {len(towers):,} weights are those of --towers, compared with nothing"
        )
        return {"weights": len(towers), "compared": 0}
    for name in sorted(own.keys() | towers.keys()):
        shapes = [list(state[name].shape) if name in state else None for state in (own, towers)]
        if shapes[0] != shapes[1]:
            raise SynvitaError(
                "a video tower is not the checkpoint's",
                found=f"{name} {shapes[1] or 'missing'}",
                expected=f"{shapes[0]}" if shapes[0] else "no such weight",
                fix="Name the folder of LanguageBind/LanguageBind_Video_merge with --towers, or leave it out",
            )
    # Saved in one dtype and released in another: compared in the coarser of the two.
    differ, most = [], 0.0
    for name, theirs in towers.items():
        coarser = min(own[name].dtype, theirs.dtype, key=lambda kind: kind.itemsize)
        one, other = own[name].to(coarser), theirs.to(coarser)
        if not torch.equal(one, other):
            differ.append(name)
            most = max(most, float((one.float() - other.float()).abs().max()))
    if differ:
        say(
            f"The checkpoint's video tower DIFFERS from --towers in {len(differ):,} of {len(towers):,} weights, by up to "
            f"{most:.3g} ({differ[0]}): those of --towers are written, as the released evaluation loads them"
        )
    else:
        say(f"{len(towers):,} weights of the video tower are those of --towers")
    return {
        "weights": len(towers),
        "compared": len(own),
        "different": len(differ),
        "largest_difference": most,
    }
