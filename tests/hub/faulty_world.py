"""What the commands of `test_hub_faults` need, made once: tiny models, a built dataset, videos, annotations."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from small_annotations import ssv2_pairs, write_ssv2

from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.shapes import make_shapes
from synvita_data.testing import make_tiny
from synvita_data.video import encode_mp4


@dataclass(frozen=True)
class World:
    """Folders and files under one root; what is served is called as the repository is."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name


def make_world(root: Path) -> World:
    """Models `model` (in two shards), `adapter`, `vqa`, `pipe`; a dataset `data`; and what scores them."""
    from peft import LoraConfig, get_peft_model
    from tiny_pipelines import save_pipeline
    from transformers import AutoModelForImageTextToText, AutoProcessor

    world = World(root)
    # A Video LLM in shards, with an adapter that names it by its Hub id.
    whole = make_tiny("video_llava", root / "whole")
    model = AutoModelForImageTextToText.from_pretrained(whole)
    size = sum(weights.numel() * 4 for weights in model.parameters())
    model.save_pretrained(world.model, max_shard_size=size * 2 // 3)
    AutoProcessor.from_pretrained(whole).save_pretrained(world.model)
    assert len(list(world.model.glob("model-*.safetensors"))) >= 2
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=2))
    adapted.peft_config["default"].base_model_name_or_path = "org/model"
    adapted.save_pretrained(world.adapter)
    make_tiny("llava", world.vqa)
    save_pipeline("cogvideox", world.pipe)
    # A dataset, and the triplets that it was built from.
    shapes = make_shapes(root / "shapes", pairs=12, seed=1)
    build_dataset(
        BuildOptions(
            triplets=shapes.triplets,
            vqascores=shapes.vqascores,
            synthetic=f"folder:{shapes.synthetic}",
            config="shapes",
            out=world.data,
        )
    )
    recipe = {
        "about": "a test",
        "model": "org/model",
        "dtype": "float32",
        "data": "org/data",
        "split": "train",
        "output_dir": "out",
        "max_steps": 1,
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    # A benchmark with its videos.
    write_ssv2(root / "eval_ssv2_temporal.csv", ssv2_pairs())
    (root / "real/videos").mkdir(parents=True)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, root / f"real/videos/{10 + number}.mp4")
    # Two triplets with a synthetic video each.
    rows = [
        ["video0", "msr-vtt", "a dog is a man", "a man is a dog"],
        ["video1", "msr-vtt", "a man is in the dog", "the dog is in a man"],
    ]
    with (root / "triplets.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["videopath", "source", "caption", "neg_caption"], *rows])
    (root / "made").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
        encode_mp4(pixels, 8, root / "made" / f"msr-vtt_video{number}_001.mp4")
    return world
