"""The long commands, as small runs that can be killed, started twice and starved, and what they must leave in the end."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_annotations as small

from .folders_and_models import write_clip
from .program import run_program
from .tables_and_texts import write_rows


@dataclass(frozen=True)
class Run:
    """A command on inputs that are made once.

    Attributes:
        name: as in `--target`.
        make: writes the inputs into an empty folder.
        start: the command, on the inputs, with its output in a folder; its exit status.
        again: the same, with what a starved program of others failed at; None where no such program is run.
        share: of a campaign's time.
        lasts: ends of names of what the output keeps beside its results, which is not compared: the work in progress.
        changing: keys of JSON files that differ from run to run: times, mostly.
    """

    name: str
    make: Callable[[Path], object]
    start: Callable[[Path, Path], int]
    again: Callable[[Path, Path], int] | None = None
    share: float = 1.0
    lasts: tuple[str, ...] = (".work",)
    changing: tuple[str, ...] = ()


def contents(run: Run, out: Path) -> dict[str, str]:
    """Relative path -> digest of every file of an output, but for the work in progress and what differs by promise."""
    found = {}
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out)
        if not path.is_file() or any(part.endswith(run.lasts) for part in relative.parts):
            continue
        data = path.read_bytes()
        if path.suffix == ".json" and run.changing:
            data = json.dumps(_without(json.loads(data), run.changing), sort_keys=True).encode()
        found[str(relative)] = hashlib.sha256(data).hexdigest()
    return found


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, keys) for key, each in value.items() if key not in keys}
    return [_without(each, keys) for each in value] if isinstance(value, list) else value


def leftovers(run: Run, out: Path) -> list[str]:
    """What no finished run leaves: temporary files anywhere, claims of a store."""
    found = [path for pattern in (".part-*", "*.claim", "*.tmp", "tmp-*") for path in out.rglob(pattern)]
    # Temporary files of a store belong to its owner's folder, which a later run clears when it is a day old.
    return sorted(str(path.relative_to(out)) for path in found if "owners" not in path.relative_to(out).parts)


def half_written(run: Run, out: Path) -> list[str]:
    """Files under final names that cannot be read: after a kill there is none."""
    import pyarrow.parquet as pq

    bad = []
    for path in sorted(out.rglob("*")):
        parts = path.relative_to(out).parts
        if not path.is_file() or any(part.startswith(".part-") or part.endswith(run.lasts) for part in parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".jsonl":
                [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix in (".csv", ".md", ".html", ".yaml"):
                assert path.read_bytes().endswith(b"\n")
            elif path.suffix == ".safetensors":
                from safetensors.numpy import load_file

                load_file(path)
        except Exception as error:
            bad.append(f"{path.relative_to(out)}: {type(error).__name__} {error}"[:200])
    return bad


CAPTIONS = [
    (f"a dog runs {word} times", f"a cat runs {word} times")
    for word in ["one", "two", "three", "four", "five", "six", "seven"]
]


def write_triplets(folder: Path, count: int = 6) -> None:
    rows = [
        (f"video{i}", "msr-vtt", *CAPTIONS[i % 7], ("train", "test")[i % 4 == 3], "object")
        for i in range(count)
    ]
    write_rows(
        folder / "triplets.csv",
        ("videopath", "source", "caption", "neg_caption", "split", "misalignment"),
        rows,
    )


def _videos(folder: Path, count: int = 6) -> None:
    write_triplets(folder, count)
    for i in range(count):
        write_clip(folder / "videos" / f"msr-vtt_video{i}_001.mp4", i)


def _build_inputs(folder: Path) -> None:
    _videos(folder)
    names = ("row", "videopath", "model", "neg_caption_score", "caption_score")
    write_rows(
        folder / "scores.csv", names, [(i, f"video{i}", m, 0.75, i / 8) for i in range(6) for m in ("a", "b")]
    )


def _build(folder: Path, out: Path) -> int:
    return run_program(
        "build", "--triplets", folder / "triplets.csv", "--synthetic", f"folder:{folder / 'videos'}", "--vqascores",
        folder / "scores.csv", "--config", "tiny", "--out", out / "set",
    )  # fmt: skip


def _generate_inputs(folder: Path) -> None:
    from small_program import write_program

    write_triplets(folder)
    (folder / "spec").write_text(write_program(folder / "program"))


def _generate(folder: Path, out: Path, *more: object) -> int:
    return run_program(
        "generate", "--triplets", folder / "triplets.csv", "--generator", (folder / "spec").read_text(), "--set",
        "prompts_per_job=2", "--out", out / "videos", *more,
    )  # fmt: skip


def _vqascore_inputs(folder: Path) -> None:
    from synvita_data.builders.shapes import make_shapes

    make_shapes(folder, pairs=6, seed=1, size=48)


def _vqascore(folder: Path, out: Path, *more: object) -> int:
    return run_program(
        "vqascore", "--triplets", folder / "triplets.csv", "--synthetic", f"folder:{folder / 'synthetic'}", "--model",
        "shapes-vqa-a", "--model", "shapes-vqa-b", "--out", out / "scores.parquet", *more,
    )  # fmt: skip


def _captions(folder: Path) -> None:
    rows = [(f"shapes/{i}.mp4", "shapes", caption) for i, (caption, _) in enumerate(CAPTIONS)]
    write_rows(folder / "captions.csv", ("videopath", "source", "caption"), rows)


def _contrast(folder: Path, out: Path) -> int:
    return run_program(
        "contrast", "--captions", folder / "captions.csv", "--writer", "rules", "--out", out / "t.csv"
    )


def _annotations_inputs(folder: Path) -> None:
    small.write_ssv2(folder / "eval_ssv2_temporal.csv", small.ssv2_pairs())
    small.write_questions(folder / "nextqa-atphard.csv")
    small.write_statements(folder / "nextqa-atphard-statements.csv")


def _annotations(folder: Path, out: Path) -> int:
    return run_program(
        "annotations",
        "--task",
        "ssv2-temporal",
        "--task",
        "atp-hard",
        "--annotations",
        folder,
        "--out",
        out / "set",
    )


def _evaluate_inputs(folder: Path) -> None:
    small.write_ssv2(folder / "a.csv", small.ssv2_pairs())
    for i in range(6):
        write_clip(folder / "real" / "videos" / f"{10 + i}.mp4", i)


def _evaluate(folder: Path, out: Path) -> int:
    return run_program(
        "evaluate", "chance", "--task", "ssv2-temporal", "--annotations", folder / "a.csv", "--real-root",
        folder / "real", "--out", out / "results", "--resamples", 20,
    )  # fmt: skip


def _score(folder: Path, out: Path) -> int:
    return run_program(
        "score",
        folder / "videos",
        "--text",
        "a dog",
        "--text",
        "a cat",
        "--model",
        "chance",
        "--out",
        out / "s.csv",
    )


def _train_inputs(folder: Path) -> None:
    import yaml

    from synvita_data.builders.shapes import make_shapes
    from synvita_data.testing import make_tiny

    shapes = make_shapes(folder / "shapes", pairs=16, seed=1)
    status = run_program(
        "build", "--triplets", shapes.triplets, "--synthetic", f"folder:{shapes.synthetic}", "--vqascores",
        shapes.vqascores, "--config", "shapes", "--out", folder / "set",
    )  # fmt: skip
    assert status == 0
    make_tiny("video_llava", folder / "model")
    values = {
        "about": "a campaign", "model": str(folder / "model"), "dtype": "float32", "data": str(folder / "set"),
        "split": "train[:4]", "real_root": str(shapes.real), "prompt": "video-llava-train", "batch": 2,
        "per_device_train_batch_size": 2, "max_steps": 3, "learning_rate": 1e-3, "lora_dropout": 0.0, "use_cpu": True,
        "save_steps": 1, "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))


def _train(folder: Path, out: Path) -> int:
    return run_program("train", folder / "recipe.yaml", f"output_dir={out / 'model'}")


def _export_inputs(folder: Path) -> None:
    _build_inputs(folder)
    assert _build(folder, folder) == 0


def _export(folder: Path, out: Path) -> int:
    if (out / "export").exists():  # a whole one is not written again
        return 0
    return run_program("export", folder / "set", "--to", "ms-swift", "--out", out / "export")


TIMES = (
    *("wall_seconds", "cpu_seconds", "seconds", "run", "finished", "started"),
    *("train_runtime", "train_samples_per_second", "train_steps_per_second"),
)
RUNS = (
    Run("build", _build_inputs, _build),
    Run("generate", _generate_inputs, _generate, lambda f, o: _generate(f, o, "--retry-failed")),
    Run("generate-workers", _generate_inputs, lambda f, o: _generate(f, o, "--workers", 2), share=0.2),
    Run("vqascore", _vqascore_inputs, _vqascore),
    Run("contrast", _captions, _contrast),
    Run("annotations", _annotations_inputs, _annotations),
    Run("evaluate", _evaluate_inputs, _evaluate, changing=TIMES),
    Run("score", _videos, _score),
    Run("train", _train_inputs, _train, share=0.5, lasts=(".synvita",), changing=TIMES),
    Run("export", _export_inputs, _export),
)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
