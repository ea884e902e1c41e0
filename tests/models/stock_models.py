"""The reference that the strategies are held to: a stock model fed by its own processor, one pair at a time."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from synvita_data.video import Frames

BEFORE_CAPTION = 'description: "'


def load(folder: Path):
    """(model, processor) of a checkpoint folder, in fp32 and evaluation mode."""
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    return model.eval(), AutoProcessor.from_pretrained(folder)


def clip(seed: int, frames: int = 4, height: int = 48, width: int = 64, step: int = 1) -> Frames:
    """Noise: every `step`-th frame of a file of four frames a second."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    indices = tuple(range(0, frames * step, step))
    return Frames(pixels, indices, tuple(i / 4 for i in indices), 4.0, f"noise {seed}", "none")


def stock_inputs(processor, frames: Frames, prompt: str):
    """What the processor makes of a prompt string and frames of `clip`."""
    if "curious human and an artificial" in prompt:
        return placeholder_a_frame(processor, frames, prompt)
    total = len(frames) * (frames.indices[1] if len(frames) > 1 else 1)
    return processor(
        text=[prompt],
        videos=[frames.pixels],
        do_sample_frames=False,
        video_metadata=[
            {
                "fps": frames.fps,
                "total_num_frames": total,
                "duration": total / frames.fps,
                "frames_indices": list(frames.indices),
            }
        ],
        return_tensors="pt",
    )


def placeholder_a_frame(processor, frames: Frames, prompt: str):
    """As the released evaluation of Video-LLaVA: frames' placeholders joined by spaces, pixels by the processor."""
    pixels = processor.video_processor(videos=[frames.pixels], do_sample_frames=False, return_tensors="pt")
    before, after = prompt.split("<video>")
    ids = processor.tokenizer(before + " ".join(["<video>"] * len(frames)) + after)["input_ids"]
    side = pixels["pixel_values_videos"].shape[-1] // processor.patch_size
    tokens = side**2 + 1  # patches, and the class token
    number = processor.tokenizer.convert_tokens_to_ids("<video>")
    ids = torch.tensor([[i for each in ids for i in [each] * (tokens if each == number else 1)]])
    return {"input_ids": ids, "pixel_values_videos": pixels["pixel_values_videos"]}


def stock_ids(processor, frames: Frames, prompt: str) -> list[int]:
    return stock_inputs(processor, frames, prompt)["input_ids"][0].tolist()


def hidden_positions(tokenizer, ids: list[int], prompt: str, caption: str, spans) -> list[int]:
    """Positions of `ids` (video tokens repeated) that overlap a hidden character that is not white, by brute
    force over characters; the end of the prompt has the same tokens with and without the video."""
    # Not by the caption itself: a short one is also in "assistant".
    start = prompt.index(BEFORE_CAPTION) + len(BEFORE_CAPTION)
    assert prompt.startswith(caption, start)
    after = 0
    if "<|video|>" in prompt:  # mPLUG-Owl reads a prompt in pieces; the caption's ends before the last
        first, last = prompt.index("\nHuman: Does") + len("\nHuman: "), prompt.rindex("AI: ")
        after = len(tokenizer(prompt[last:], add_special_tokens=False)["input_ids"])
        prompt, start = prompt[first:last], start - first
    dark = {start + i for a, b in spans for i in range(a, b) if not caption[i].isspace()}
    tokens = tokenizer(prompt, return_offsets_mapping=True, add_special_tokens=not after)
    behind = len(ids) - len(tokens["input_ids"]) - after
    found = []
    for position, (a, b) in enumerate(tokens["offset_mapping"]):
        if dark & set(range(a, b)):
            assert ids[position + behind] == tokens["input_ids"][position]
            found.append(position + behind)
    return found


@torch.no_grad()
def stock_log_odds(
    model, processor, frames, prompt: str, caption: str, spans=(), answers=("Yes", "No")
) -> float:
    """logit(Yes) − logit(No) by the stock forward: pixels in, all logits out, zeros in the mask."""
    inputs = stock_inputs(processor, frames, prompt)
    ids = inputs["input_ids"][0].tolist()
    positions = stock_positions(model, inputs)
    mask = torch.ones_like(inputs["input_ids"])
    mask[0, hidden_positions(processor.tokenizer, ids, prompt, caption, spans)] = 0
    inputs = {**inputs, "attention_mask": mask, "position_ids": positions}
    inputs.pop("mm_token_type_ids", None)
    logits = model(**inputs, use_cache=False).logits[0, -1].double()
    yes, no = (answer_id(processor.tokenizer, answer) for answer in answers)
    return float(logits[yes] - logits[no])


@cache
def answer_id(tokenizer, answer: str) -> int:
    (only,) = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return only


def stock_positions(model, inputs):
    """Positions of the sequence with nothing hidden, by the stock model's own count."""
    if hasattr(getattr(model, "model", None), "get_rope_index"):
        return model.model.get_rope_index(
            inputs["input_ids"],
            mm_token_type_ids=inputs["mm_token_type_ids"],
            video_grid_thw=inputs["video_grid_thw"],
            **(
                {"second_per_grid_ts": inputs["second_per_grid_ts"]} if "second_per_grid_ts" in inputs else {}
            ),
        )[0]
    return torch.arange(inputs["input_ids"].shape[1])[None]
