"""Keys, seeds and ids from fixed inputs, JSON-ready: what stored work is found by.

`make_stored_work.py` wrote down what the code of commit 79b0f4d said; `test_stored_work.py` asks the code of today.
Nothing here depends on the machine, on a library's version, or on random weights.
"""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

FILES = Path(__file__).resolve().parent / "files"
# VideoCon's three sources, SSv2, NExT-QA, ActivityNet, and names of our own.
VIDEO_PATHS = (
    ("msr-vtt", "msr-vtt/TrainValVideo/video6323.mp4"),
    ("msr-vtt", "video77.mp4"),
    ("vatex", "k600/val/eOsIGrDFuuw_000004_000014.mp4"),
    ("vatex", "-Xx58z-yq2g_000003_000013.mp4"),
    ("tempo", "tempo/videos/7.mp4"),
    ("custom", "A-B_c.mp4"),
)
CAPTIONS = (
    ("A man runs.", "A man swims."),
    ('a "dog", barking', "a cat barking"),
    ("She sits, then stands up.", "She stands up, then sits."),
    ("Ein Mädchen läuft über die Straße.", "Ein Junge läuft über die Straße."),
)
SEED_BITS = (31, 63)


def all_keys(work: Path) -> dict[str, Any]:
    """Everything below, by name. `work`: a folder to write inputs into."""
    work.mkdir(parents=True, exist_ok=True)
    return {
        "ids": _ids(work),
        "generate": _generate(work),
        "vqascore": _vqascore(),
        "evaluate": _evaluate(),
        "features": _features(),
        "masks": _masks(),
        "shapes": _shapes(work),
    }


def triplets(work: Path) -> list[Any]:
    """Every path with every pair of captions, read from a file as a user's are."""
    from synvita_data.builders.triplets import TripletReader

    path = work / "paths.csv"
    rows = [[source, name, *pair] for source, name in VIDEO_PATHS for pair in CAPTIONS]
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["source", "videopath", "caption", "neg_caption"], *rows])
    return list(TripletReader(path))


def _ids(work: Path) -> list[list[Any]]:
    from synvita_data.schema import make_row_id

    return [
        [
            t.source,
            t.videopath,
            t.video_id,
            t.video_key,
            t.pair_id,
            make_row_id(t.pair_id, "CogVideoX-5b", 2),
            make_row_id(t.pair_id, None, None),
        ]
        for t in triplets(work)
    ]


# --- generate --------------------------------------------------------------------------------------


def _generate(work: Path) -> dict[str, Any]:
    from synvita_data.builders.generators import make_requests
    from synvita_data.builders.generators.base import Recipe, request_key
    from synvita_data.builders.generators.diffusers.presets import PRESETS
    from synvita_data.builders.generators.diffusers.settings import pipeline_settings

    requests = make_requests(triplets(work)[:3], 2)
    found: dict[str, Any] = {}
    for preset in PRESETS:
        settings, placement = pipeline_settings(preset.pipeline, {}, preset.name, {"preset": preset.name})
        recipe = Recipe("diffusers", preset.name, "0" * 40, settings, placement)
        found[preset.name] = {
            "recipe": recipe.digest,
            "keys": [request_key(recipe.digest, request) for request in requests],
            "seeds": [recipe.seed(request, bits) for bits in SEED_BITS for request in requests],
        }
    for name, generator in _local_generators(work).items():
        keys = list(generator.inputs(requests))
        found[name] = {"recipe": generator.recipe.digest, "revision": generator.recipe.revision, "keys": keys}
    return found


def _local_generators(work: Path) -> dict[str, Any]:
    """Generators of folders that hold enough to be opened; nothing is loaded."""
    from synvita_data.builders.generators import open_generator

    pipe, lavie, crafter = work / "pipe", work / "lavie", work / "crafter"
    contents = {
        pipe / "model_index.json": json.dumps({"_class_name": "CogVideoXPipeline"}),
        pipe / "transformer/config.json": json.dumps({"num_layers": 30, "num_attention_heads": 30}),
        pipe / "transformer/model.safetensors": "weights",
        pipe / "tokenizer/tokenizer_config.json": json.dumps({"model_max_length": 226}),
        lavie / "lavie_base.pt": "weights",
        lavie / "stable-diffusion-v1-4/unet/config.json": "{}",
        lavie / "stable-diffusion-v1-4/tokenizer/vocab.json": "{}",
        crafter / "model.ckpt": "weights",
        crafter / "tokenizer/vocab.json": "{}",
    }
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = "command:no-such-program {prompts} --save {out} --seed {seed}"
    return {
        "pipe": open_generator(f"diffusers:{pipe}"),
        "pipe changed": open_generator(
            f"diffusers:{pipe}", ["steps=25", "call.max_sequence_length=128"], name="mine"
        ),
        "lavie": open_generator(f"lavie:{lavie}"),
        "videocrafter2": open_generator(f"videocrafter2:{crafter}"),
        "command": open_generator(command),
        "command of two": open_generator(command, ["prompts_per_job=2", "revision=r1", "timeout=60"]),
    }


# --- score -----------------------------------------------------------------------------------------


def _vqascore() -> dict[str, Any]:
    from synvita_data.builders.vqascore import VqaModel, VqaRow, VqaScoreJob, VqaSettings
    from synvita_data.builders.vqascore.models import KINDS
    from synvita_data.video import FramePolicy

    rows = tuple(
        VqaRow(f"row{n}", "unused.mp4", f"{n:064x}", caption, neg_caption)
        for n, (caption, neg_caption) in enumerate(CAPTIONS)
    )
    usual = VqaSettings()
    eight = replace(usual, frames=FramePolicy(count=8, rule="linspace", size=224), dtype="bfloat16")
    hf = replace(usual, preprocessing="hf", batch_rows=4, threads=1)
    found: dict[str, Any] = {}
    for kind in KINDS:
        model = VqaModel("a label", "somewhere", "1" * 40, kind, "qwen2_5_vl")
        for name, settings in (("usual", usual), ("eight", eight), ("hf", hf)):
            job = VqaScoreJob(Path("unused"), model, settings, rows)
            found[f"{kind}, {name}"] = {
                "keys": list(job.keys),
                "methods": [job.method(score) for score in ("reference", "first-token")],
            }
    return found


def annotations() -> Any:
    from synvita_data.annotations import read_annotations

    return read_annotations("ssv2-temporal", FILES / "ssv2.csv")


def real_videos(folder: Path) -> Any:
    """The benchmark's videos in `folder`, with the times that the run of then saw."""
    from synvita_data.real_videos.find import RealVideos

    for path in (folder / "videos").iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return RealVideos(folder)


class StoredScorer:
    """Gives away what a run is keyed by; asked to score, it fails."""

    def __init__(self, prompt: str | None = None, frames: Any = None, **settings: Any) -> None:
        self.name, self.revision, self.kind = "a scorer", "r1", "log_odds"
        self.prompt, self.frames, self.settings = prompt, frames, settings

    def score(self, items: Any) -> Any:
        raise AssertionError("what was scored at commit 79b0f4d is scored again")
        yield  # a generator, as scorers are


def _evaluate() -> dict[str, Any]:
    from synvita_data.captions import Text
    from synvita_data.evaluation.scoring import item_key, run_key
    from synvita_data.scoring import ScoringItem
    from synvita_data.tasks import get_task
    from synvita_data.video import FramePolicy

    task, pairs = get_task("ssv2-temporal"), annotations()
    scorers = {
        "plain": StoredScorer(),
        "video llm": StoredScorer(
            "video-llava", FramePolicy(count=8, rule="linspace"), family="video_llava", dtype="float32"
        ),
        "by rate": StoredScorer(None, FramePolicy(fps=2.0), family="qwen2_5_vl"),
    }
    texts = (Text("A man runs."), Text("A man swims.", ((2, 5),)))
    item = ScoringItem("i1", "v1", b"a video", texts, ("t1", "t2"))
    return {
        "annotations": pairs.revision,
        "text ids": sorted(pairs.text_id),
        "runs": {name: run_key(scorer, task, pairs) for name, scorer in scorers.items()},
        "item": item_key(item),
    }


def _features() -> dict[str, Any]:
    import tempfile

    import torch

    from synvita_data.captions import Text
    from synvita_data.models.features import FeatureCache, tower_identity
    from synvita_data.scoring import ScoringItem
    from synvita_data.video import FramePolicy

    item = ScoringItem("i1", "v1", b"a video", (Text("A man runs."),), ("t1",))
    found = {}
    for family, policy in (
        ("video_llava", FramePolicy(count=8, rule="linspace", size=224)),
        ("mplug_owl", FramePolicy(count=32, rule="mplug-owl")),
    ):
        tower = tower_identity("r1", family, torch.bfloat16, policy, None)
        with tempfile.TemporaryDirectory() as folder:
            cache = FeatureCache(Path(folder) / "cache", tower)
            found[family] = [tower, cache.key(item)]
            cache.close()
    return found


# --- build -----------------------------------------------------------------------------------------


def _masks() -> list[Any]:
    from synvita_data.captions.lcs import shared_spans

    found = [
        shared_spans(*pair, granularity="word", ignore_case=ignore, tokenizer=None)
        for pair in CAPTIONS
        for ignore in (False, True)
    ]
    return [[[list(span) for span in spans] for spans in each] for each in found]


def _shapes(work: Path) -> list[str]:
    from synvita_data.builders.shapes import write_triplets
    from synvita_data.builders.triplets import TripletReader

    return [t.pair_id for t in TripletReader(write_triplets("", work / "shapes"))][:20]


def build(triplets_file: Path, files: Path, out: Path) -> Any:
    """The dataset of the fixture: two configs, samples, scores by row number and by row id."""
    from synvita_data.builders.dataset import BuildOptions, build_dataset

    common: dict[str, Any] = {"triplets": triplets_file, "out": out}
    build_dataset(
        BuildOptions(
            **common,
            config="lavie",
            synthetic=f"folder:{files / 'lavie'}",
            vqascores=files / "by-row.csv",
            weighting="product",
        )
    )
    return build_dataset(
        BuildOptions(
            **common,
            config="cogvideox",
            synthetic=f"folder:{files / 'cogvideox'}",
            vqascores=files / "scores.parquet",
        )
    )


def pixels(seed: int, frames: int = 4) -> "np.ndarray":
    """A clip of flat colours, which makes a small file."""
    colours = np.random.default_rng(seed).integers(0, 255, (frames, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (frames, 32, 48, 3)).copy()
