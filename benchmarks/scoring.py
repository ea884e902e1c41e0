"""Many texts of one video: what sharing the video saves against one forward per pair, in time and memory.

    python benchmarks/scoring.py [--small] [--rounds 3]

Prints one line a figure: `name: value unit (goal …) ok|short`. The model is narrow (512 wide, four
layers) with random weights, but the tokens are Video-LLaVA's: eight frames of 257 tokens and captions of the
length of SSv2's. Both sides run in turns in this one process, and the best round of each counts, so that
what else the machine does falls on both. A plain forward costs the same for every pair (but for a few tokens),
so a few pairs are timed and multiplied.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from gpu_parts.shapes import captions, clip
from measure import added_megabytes, argument_parser, figure, in_turns, of_a_process
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from synvita_data.captions import Text
from synvita_data.models import AlignmentModel, PreparedVideo
from synvita_data.models.strategies import pack
from synvita_data.testing import make_tiny

logging.disable_progress_bar()
logging.set_verbosity_error()


def narrow_model(folder: Path, small: bool) -> AlignmentModel:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "image_size": 28}
    if not small:
        sizes = {"hidden_size": 512, "intermediate_size": 1376, "layers": 4, "heads": 8, "image_size": 224}
        sizes |= {"vision_hidden_size": 96, "vision_intermediate_size": 384, "vision_layers": 6}
    made = make_tiny("video_llava", folder, patch_size=14, positions=4096, **sizes)
    model = AutoModelForImageTextToText.from_pretrained(made)
    model.resize_token_embeddings(32_064)  # the head of a Llama
    return AlignmentModel(model, AutoProcessor.from_pretrained(made)).eval()


def tokens(model: AlignmentModel, texts: list[Text], video: PreparedVideo) -> tuple[int, int]:
    """Tokens of one forward a pair, and of the prefix once with all branches."""
    prompts = [model.prompter.tokens(text, None, video) for text in texts]
    return sum(len(prompt.ids) for prompt in prompts), len(pack(prompts))


def evaluation(model: AlignmentModel, counts: tuple[int, ...], rounds: int, pairs: int) -> None:
    """Seconds a video for so many captions against plain pairs; both run the vision tower, the one for each
    video, the other for each pair, and neither resizes frames."""
    for count in counts:
        texts, video = captions(count), model.prepare(clip(count))
        plain_tokens, shared_tokens = tokens(model, texts, video)
        ratio = plain_tokens / shared_tokens
        chosen = texts[:pairs]
        best = in_turns(
            rounds,
            plain=lambda chosen=chosen, video=video: [
                model([video], [[text]], strategy="plain").log_odds for text in chosen
            ],
            shared=lambda texts=texts, video=video: model([video], [texts]).log_odds,
            packed=lambda texts=texts, video=video: model([video], [texts], strategy="packed").log_odds,
            cached=lambda texts=texts, video=video: model([video], [texts], strategy="cached").log_odds,
        )
        plain = best["plain"] / len(chosen) * count
        shared = best["shared"]
        print(
            f"{count} captions: {plain_tokens:,} tokens plain, {shared_tokens:,} shared; seconds a video: "
            f"plain {plain:.2f}, chosen way {shared:.2f}, packed {best['packed']:.2f}, cached {best['cached']:.2f}"
        )
        goal = 0.85 if count == 5 else 0.9
        figure(
            f"{count} captions, faster than plain (token ratio {ratio:.1f})",
            plain / shared,
            "x",
            goal * ratio,
        )


def released(model: AlignmentModel, lengths: tuple[int, ...], count: int = 18) -> None:
    """The released way: `generate` for every pair, whose first token alone is looked at."""
    texts, video = captions(count), clip(count)
    processor, stock = model.family.processor, model.family.model
    prompt = model.prompt.wrap(texts[0].caption)

    def generate(length: int) -> None:
        inputs = processor(text=[prompt], videos=[video.pixels], return_tensors="pt").to(stock.device)
        inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(stock.dtype)
        stock.generate(**inputs, max_new_tokens=length, min_new_tokens=length, do_sample=False)

    shared = in_turns(2, shared=lambda: model([video], [texts]).log_odds)["shared"]
    for length in lengths:
        seconds = in_turns(1, generate=lambda length=length: generate(length))["generate"]
        name = f"{count} captions, faster than generate of {length} tokens a pair"
        figure(name, seconds * count / shared, "x")
        figure(f"seconds a pair, generate of {length} tokens", seconds, "s")
    figure(f"seconds a pair, {count} captions shared", shared / count, "s")


def peak(side: str, small: bool, count: int = 18) -> float:
    """Megabytes that scoring adds to a loaded model, at most; in a process of its own."""
    return of_a_process("--memory-of", side, *(["--small"] if small else []), "--captions", count)


def measure_peak(side: str, small: bool, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model = narrow_model(Path(folder), small)
        texts, video = captions(count), clip(count)
        model([video], [texts[:1]], strategy="packed")  # what torch sets aside once
        if side == "plain":
            return added_megabytes(lambda: model([video], [texts], strategy="plain", plain_batch=6))
        return added_megabytes(lambda: model([video], [texts]))


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--memory-of", choices=("plain", "shared"), help=argparse.SUPPRESS)
    parser.add_argument("--captions", type=int, default=18, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    small = arguments.small
    if arguments.memory_of:
        print(json.dumps(measure_peak(arguments.memory_of, small, arguments.captions)))
        return
    with torch.inference_mode():
        with tempfile.TemporaryDirectory() as folder:
            model = narrow_model(Path(folder), small)
        model([clip(0)], [captions(2)])  # warm
        evaluation(model, (5, 18, 49), 1 if small else arguments.rounds, 1 if small else 3)
        released(model, (2, 16) if small else (2, 256))
    plain, shared = peak("plain", small), peak("shared", small)
    print(
        f"peak memory above the loaded model, 18 captions: plain in batches of 6 {plain:.0f} MB, shared {shared:.0f} MB"
    )
    figure("peak memory against plain batches of 6", 100 * shared / plain, "%", 35, at_most=True)


if __name__ == "__main__":
    main()
