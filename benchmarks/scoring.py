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
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_parts.shapes import captions, clip
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from synvita_data.captions.text import Text
from synvita_data.models import AlignmentModel, PreparedVideo
from synvita_data.models.packing import pack
from synvita_data.testing import make_tiny

logging.disable_progress_bar()
logging.set_verbosity_error()


def figure(name: str, value: float, unit: str, goal: float | None = None, *, at_most: bool = False) -> None:
    """One line; without a goal, a figure to look at."""
    if goal is None:
        print(f"{name}: {value:.3g} {unit}", flush=True)
        return
    ok = value <= goal if at_most else value >= goal
    sign = "<=" if at_most else ">="
    print(f"{name}: {value:.3g} {unit} (goal {sign} {goal:.3g}) {'ok' if ok else 'short'}", flush=True)


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


def in_turns(rounds: int, **sides: Callable[[], object]) -> dict[str, float]:
    """Best seconds of each side, run one after the other in every round."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


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
    command = [sys.executable, __file__, "--memory-of", side, *(["--small"] if small else [])]
    done = subprocess.run([*command, "--captions", str(count)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure_peak(side: str, small: bool, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model = narrow_model(Path(folder), small)
        texts, video = captions(count), clip(count)
        model([video], [texts[:1]], strategy="packed")  # what torch sets aside once
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        if side == "plain":
            model([video], [texts], strategy="plain", plain_batch=6)
        else:
            model([video], [texts])
        status = Path("/proc/self/status").read_text()
        high = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        print(json.dumps((high - before) / 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds, for function only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-of", choices=("plain", "shared"), help=argparse.SUPPRESS)
    parser.add_argument("--captions", type=int, default=18, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        measure_peak(options.memory_of, options.small, options.captions)
        return
    with torch.inference_mode():
        with tempfile.TemporaryDirectory() as folder:
            model = narrow_model(Path(folder), options.small)
        model([clip(0)], [captions(2)])  # warm
        evaluation(model, (5, 18, 49), 1 if options.small else options.rounds, 1 if options.small else 3)
        released(model, (2, 16) if options.small else (2, 256))
    plain, shared = peak("plain", options.small), peak("shared", options.small)
    print(
        f"peak memory above the loaded model, 18 captions: plain in batches of 6 {plain:.0f} MB, shared {shared:.0f} MB"
    )
    figure("peak memory against plain batches of 6", 100 * shared / plain, "%", 35, at_most=True)


if __name__ == "__main__":
    main()
