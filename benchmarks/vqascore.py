"""VQAScore: both captions of a triplet on four frames against one (video, caption) pair after the other.

    python benchmarks/vqascore.py [--small] [--rounds 3]
    python benchmarks/vqascore.py --memory        # parameters and bytes of the released models, computed

Prints one line a figure: `name: value unit (goal …) ok|short`. Models are narrow, with random weights, but their tokens
are the real ones: 336 px, 576 patches, questions of the real length; all parts have four layers. The video is a clip of
CogVideoX's size (49 frames, 720 × 480). `clip_flant5` has a T5 as wide as its tower, `clip_flant5_xl` one of the released XL's
proportions to it (twice as wide): its encoder sees the caption everywhere, so nothing of it can be shared, and the wider
it is the less there is to save.

*Pair by pair* is what scorers do that know nothing of triplets: for each caption the video is decoded, its frames are
preprocessed, and each goes through a plain forward. *Together* is `synvita vqascore`. Both sides run in turns in this one
process; what counts is processor time (torch on one thread), the best round of each, so that a busy machine matters little.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import argument_parser, figure, in_turns
from transformers.utils import logging

from synvita_data.builders.vqascore import find_model
from synvita_data.builders.vqascore.base import FrameScorer, Prepared
from synvita_data.builders.vqascore.models import open_scorer
from synvita_data.testing import make_tiny
from synvita_data.video import FramePolicy, Frames, decode, encode_mp4

logging.disable_progress_bar()
logging.set_verbosity_error()
CAPTIONS = (
    "A young lady in a white shirt is riding a brown horse along the beach while a dog runs after her.",
    "A young lady in a white shirt is riding a black horse along the beach while a dog runs after her.",
)
POLICY = FramePolicy(count=4, rule="segment-midpoints")
TOWER = {"vision_hidden_size": 128, "vision_intermediate_size": 512, "vision_layers": 4}
# Name -> family, and sizes.
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "clip_flant5": ("clip_flant5", {"hidden_size": 128, "intermediate_size": 320, "layers": 4, **TOWER}),
    "clip_flant5_xl": ("clip_flant5", {"hidden_size": 256, "intermediate_size": 640, "layers": 4, **TOWER}),
    "llava": ("llava", {"hidden_size": 512, "intermediate_size": 1376, "layers": 4, "heads": 8, **TOWER}),
}
GOALS = {"clip_flant5": 60.0, "llava": 60.0}  # percent


def clip(path: Path, small: bool) -> Path:
    """Bright patches that move over a gradient."""
    frames, height, width = (12, 48, 72) if small else (49, 480, 720)
    y, x = np.mgrid[:height, :width]
    pixels = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        for c, speed in enumerate((3, 5, 7)):
            pixels[t, ..., c] = 127 + 80 * np.sin((x + speed * t) / 31) * np.cos((y - 2 * t) / (17 + c))
    encode_mp4(pixels, 8, path)
    return path


def plain_llava(scorer: Any, image: torch.Tensor, question: list[int]) -> float:
    """The stock forward of one frame and one caption."""
    model, place = scorer.model, question.index(scorer._image_id)
    ids = question[:place] + [scorer._image_id] * scorer._patches + question[place + 1 :]
    given = torch.tensor([ids])
    with torch.inference_mode():
        logits = model(input_ids=given, pixel_values=image[None], logits_to_keep=3).logits[0, :2]
    return float(logits.float().log_softmax(-1).gather(-1, given[0, -2:, None]).mean().exp())


def plain_clip_flant5(scorer: Any, image: torch.Tensor, question: list[int]) -> float:
    """There is no stock class: the model itself, asked for one frame and one caption."""
    return float(scorer.log_probs([Prepared(image[None], (question,))])[0].mean().exp())


PLAIN: dict[str, Callable[[Any, torch.Tensor, list[int]], float]] = {
    "clip_flant5": plain_clip_flant5,
    "llava": plain_llava,
}


class Sides:
    """The two ways to score one video file with both captions; each gives float64 [frames, captions]."""

    def __init__(self, family: str, scorer: FrameScorer, video: Path) -> None:
        self.scorer, self.video, self.plain = scorer, video, PLAIN[family]

    def frames(self) -> Frames:
        return decode(self.video, POLICY)

    def together(self, frames: Frames | None = None) -> np.ndarray:
        prepared = self.scorer.prepare(frames or self.frames(), CAPTIONS)
        (found,) = self.scorer.log_probs([prepared])
        return found.double().mean(-1).exp().numpy()

    def pair_by_pair(self) -> np.ndarray:
        columns = []
        for caption in CAPTIONS:
            prepared = self.scorer.prepare(self.frames(), (caption,))
            columns.append(
                [self.plain(self.scorer, image, prepared.questions[0]) for image in prepared.images]
            )
        return np.array(columns).T

    def model_together(self, prepared: Prepared) -> object:
        return self.scorer.log_probs([prepared])

    def model_pair_by_pair(self, prepared: Prepared) -> object:
        return [
            self.plain(self.scorer, image, question)
            for question in prepared.questions
            for image in prepared.images
        ]


def compare(name: str, folder: Path, video: Path, rounds: int, small: bool) -> None:
    family, sizes = SHAPES[name]
    sizes = {"image_size": 28} if small else {**sizes, "image_size": 336}
    scorer = open_scorer(find_model(str(make_tiny(family, folder / name, patch_size=14, **sizes))))
    assert isinstance(scorer, FrameScorer)
    sides = Sides(family, scorer, video)
    difference = np.abs(sides.together() - sides.pair_by_pair()).max()
    figure(f"{name} difference of scores", difference, "absolute", 1e-5, at_most=True)
    best = in_turns(rounds, time.process_time, together=sides.together, pair_by_pair=sides.pair_by_pair)
    one, other = best.values()
    figure(f"{name} together", one, "CPU s a triplet")
    figure(f"{name} pair by pair", other, "CPU s a triplet")
    goal = None if small else GOALS.get(name)
    figure(f"{name} share of the cost pair by pair", 100 * one / other, "%", goal, at_most=True)
    prepared = scorer.prepare(sides.frames(), CAPTIONS)
    best = in_turns(
        rounds,
        time.process_time,
        together=lambda: sides.model_together(prepared),
        pair_by_pair=lambda: sides.model_pair_by_pair(prepared),
    )
    one, other = best.values()
    figure(f"{name} share, model alone", 100 * one / other, "%")


def released_parameters() -> dict[str, int]:
    """Parameters of the released models, from their published sizes; made without memory."""
    from transformers import (
        CLIPVisionConfig,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        LlavaConfig,
        LlavaForConditionalGeneration,
        T5Config,
    )

    from synvita_data.builders.vqascore.clip_flant5 import ClipFlanT5

    tower = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 336}
    tower |= {"num_attention_heads": 16, "patch_size": 14, "projection_dim": 768}
    t5 = {
        "xxl": {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24},
        "xl": {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": 24},
    }
    llama = {
        "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40},
        "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32},
    }
    found: dict[str, int] = {}

    def count(name: str, make: Callable[[], Any], tied: int = 0) -> None:
        with torch.device("meta"):
            model = make()
        found[name] = sum(weights.numel() for weights in model.parameters()) + tied

    for size, settings in t5.items():
        flan = {
            "vocab_size": 32128,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            **settings,
        }
        head = flan["vocab_size"] * flan["d_model"]  # tied as transformers constructs it, loaded apart
        config = T5Config(**flan, mm_hidden_size=1024, mm_vision_select_layer=-2)
        count(
            f"clip-flant5-{size}",
            lambda config=config: ClipFlanT5(config, CLIPVisionConfig(**tower)),
            head,
        )
        blip = InstructBlipConfig(text_config={"model_type": "t5", **flan}, num_query_tokens=32)
        count(
            f"instructblip-flan-t5-{size}",
            lambda blip=blip: InstructBlipForConditionalGeneration(blip),
            head,
        )
    for size, settings in llama.items():
        text = {"model_type": "llama", "vocab_size": 32064, **settings}
        text["num_attention_heads"] = text["num_key_value_heads"] = text["hidden_size"] // 128
        vision = {"model_type": "clip_vision_model", **tower}
        config = LlavaConfig(text_config=text, vision_config=vision)
        count(f"llava-1.5-{size}", lambda config=config: LlavaForConditionalGeneration(config))
    return found


def main() -> None:
    parser = argument_parser(__doc__, rounds=3)
    parser.add_argument("--memory", action="store_true", help="only compute sizes of released models")
    arguments = parser.parse_args()
    if arguments.memory:
        for name, parameters in released_parameters().items():
            figure(f"{name} parameters", parameters / 1e9, "billion")
            figure(f"{name} weights in bfloat16", 2 * parameters / 1e9, "GB")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        video = clip(Path(folder) / "clip.mp4", arguments.small)
        for name in SHAPES:
            compare(name, Path(folder), video, 1 if arguments.small else arguments.rounds, arguments.small)


if __name__ == "__main__":
    main()
