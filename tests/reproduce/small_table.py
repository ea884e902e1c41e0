"""A small Table 3: tiny checkpoints in the released layouts, small annotations, rendered videos, and their expected.yaml."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from released_layouts import (
    write_language_bind,
    write_mplug_owl,
    write_mplug_owl_lora,
    write_video_llava,
    write_video_llava_lora,
)
from small_annotations import (
    HUMAN_HEADER,
    HUMAN_ROWS,
    QUESTIONS,
    ssv2_pairs,
    write_csv,
    write_options,
    write_questions,
    write_ssv2,
)

from synvita_data.video import encode_mp4

TASKS = ("videocon-human", "ssv2-temporal", "atp-hard")
ROWS = (
    "mplug-owl",
    "video-llava",
    "videocon-mplug-owl",
    "videocon-video-llava",
    "synvita-mplug-owl",
    "synvita-video-llava",
)
# Name of a checkpoint -> its repository on the small Hub.
REPOSITORIES = {
    "owl": "authors/owl-video",
    "towers": "bind/video-merge",
    "llava": "bind/video-llava",
    "owl-con": "videocon/owl-con",
    "owl-lora": "synvita/owl-lora",
    "llava-lora": "synvita/llava-lora",
}


def write_released(folder: Path) -> dict[str, Path]:
    """Folders of all checkpoints, as released, by name."""
    return {
        "owl": write_mplug_owl(folder / "owl"),
        "towers": write_language_bind(folder / "towers"),
        "llava": write_video_llava(folder / "llava"),
        "owl-con": write_mplug_owl_lora(folder / "owl-con", seed=1),
        "owl-lora": write_mplug_owl_lora(folder / "owl-lora", seed=2, form="safetensors"),
        "llava-lora": write_video_llava_lora(
            folder / "llava-lora", seed=3, nested="checkpoint-5181", beside={}
        ),
    }


def write_annotations(folder: Path) -> Path:
    """The files of the three tasks."""
    folder.mkdir(parents=True)
    write_csv(folder / "videocon_human.csv", HUMAN_ROWS, HUMAN_HEADER)
    write_ssv2(folder / "eval_ssv2_temporal.csv", ssv2_pairs())
    write_questions(folder / "nextqa-atphard.csv")
    write_options(folder / "eval-nextqa-atphard.csv")
    return folder


def write_videos(folder: Path) -> dict[str, Path]:
    """Clips of all videos that the annotations name, by their source; sides differ, so that mirroring matters."""
    named = {
        "activitynet": ["v_abc-DEF_123", "v_xyz"],
        "ssv2": [str(10 + number) for number in range(6)],
        "next-qa": sorted({question[0] for question in QUESTIONS}),
    }
    for place, (source, names) in enumerate(named.items()):
        for number, name in enumerate(names):
            generator = np.random.default_rng([place, number])
            frames = generator.integers(0, 255, (10, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(10, 2)
            (folder / source).mkdir(parents=True, exist_ok=True)
            encode_mp4(frames, 5, folder / source / f"{name}.mp4")
    return {source: folder / source for source in named}


def expected_content(
    repositories: dict[str, str], revisions: dict[str, str | None] | None = None
) -> dict[str, Any]:
    """What stands in the small table's expected.yaml; the values compared with are the paper's."""

    def source(name: str, convert: str, files: list[str], **more: Any) -> dict[str, Any]:
        revision = (revisions or {}).get(name)
        return {
            "repository": repositories[name],
            "revision": revision,
            "convert": convert,
            "files": files,
            **more,
        }

    weights, settings = ["*.bin", "*.safetensors", "*.index.json"], ["*config.json", "tokenizer.model"]
    return {
        "format": 1,
        "fixed": "2026-11-26",
        "tolerances": {task: {"points": 0.5, "why": "small"} for task in TASKS},
        "jitter": {"sigma": 0.06, "draws": 20, "level": 0.99, "seed": 0, "why": "small"},
        "flips": {"seeds": 8, "level": 0.99, "why": "small"},
        "evaluate": {"dtype": "float32", "backend": "pyav"},
        "checkpoints": {
            "owl": source("owl", "mplug-owl", [*weights, *settings], gib=13.6),
            "towers": source("towers", "none", [*weights, "config.json"]),
            "llava": source("llava", "video-llava", [*weights, *settings], towers="towers", gib=14.1),
            "owl-con": source("owl-con", "mplug-owl-lora", weights, base="owl"),
            "owl-lora": source("owl-lora", "mplug-owl-lora", [*weights, *settings], base="owl"),
            "llava-lora": source("llava-lora", "video-llava-lora", [*weights, *settings], base="llava"),
        },
        "rows": {
            "mplug-owl": {"paper": "mPLUG-Owl 7B", "checkpoint": "owl", "prompt": "mplug-owl"},
            "video-llava": {"paper": "Video-LLaVA", "checkpoint": "llava", "prompt": "video-llava-eval"},
            "videocon-mplug-owl": {"paper": "VideoCon (mPLUG-Owl 7B)", "checkpoint": "owl-con", "prompt": "mplug-owl"},
            "videocon-video-llava": {"paper": "VideoCon (Video-LLaVA)", "not_public": "not released"},
            "synvita-mplug-owl": {"paper": "SynViTA (mPLUG-Owl 7B)", "checkpoint": "owl-lora", "prompt": "mplug-owl"},
            "synvita-video-llava": {"paper": "SynViTA (Video-LLaVA)", "checkpoint": "llava-lora", "prompt": "video-llava-eval"},
        },
        "pairs": [["videocon-mplug-owl", "synvita-mplug-owl"], ["videocon-video-llava", "synvita-video-llava"]],
        "inputs": {task: {"annotations": f"annotations of {task}", "videos": f"videos of {task}"} for task in TASKS},
    }  # fmt: skip


def write_expected(path: Path, content: dict[str, Any]) -> Path:
    """The file."""
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
