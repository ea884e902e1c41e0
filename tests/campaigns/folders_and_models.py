"""Targets: built datasets, results, folders of jobs, archives, videos, feature stores and checkpoints."""

import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import small_annotations as small

from .fuzz import Target
from .program import run_program
from .tables_and_texts import TRIPLET_COLUMNS, TRIPLETS, write_rows


def write_clip(path: Path, seed: int = 0, frames: int = 4) -> None:
    import numpy as np

    from synvita_data.video import encode_mp4

    path.parent.mkdir(parents=True, exist_ok=True)
    encode_mp4(np.random.default_rng(seed).integers(0, 255, (frames, 32, 48, 3), dtype=np.uint8), 8, path)


def build(folder: Path, out: Path) -> int:
    return run_program(
        "build", "--triplets", folder / "triplets.csv", "--synthetic", f"folder:{folder / 'videos'}",
        "--vqascores", folder / "scores.csv", "--config", "tiny", "--out", out,
    )  # fmt: skip


def write_inputs(folder: Path) -> None:
    """Triplets, a video for three of four, and scores."""
    write_rows(folder / "triplets.csv", TRIPLET_COLUMNS, TRIPLETS)
    names = ("row", "videopath", "model", "neg_caption_score", "caption_score")
    write_rows(folder / "scores.csv", names, [(i, row[0], "a", 0.75, 0.25) for i, row in enumerate(TRIPLETS)])
    for i, name in enumerate(("vatex_eOsIGrDFuuw_000004_000014", "msr-vtt_video12", "tempo_7")):
        write_clip(folder / "videos" / f"{name}_001.mp4", i)


def _datasets() -> Iterable[Target]:
    def make(folder: Path, keep: str = "out") -> None:
        write_inputs(folder)
        assert build(folder, folder / "out") == 0

    made = ("out/build.json", "out/README.md", "out/quarantine.jsonl", "out/tiny/*.parquet")
    yield Target("dataset-inspect", make, lambda f: run_program("inspect", f / "out"), files=made, weight=0.4)
    yield Target("dataset-build-again", make, lambda f: build(f, f / "out"), files=made, weight=0.3)
    yield Target(
        "build-inputs", write_inputs, lambda f: build(f, f / "out"), files=("*.csv", "videos/*"), weight=0.2
    )

    def push(folder: Path) -> object:
        from synvita_data.builders.publish.folder import read_built_folder
        from synvita_data.hub.leaks import scan

        for path in sorted((folder / "out").rglob("*.*")):
            if path.is_file():
                list(scan(path.name, path))
        return read_built_folder(folder / "out").configs

    yield Target("dataset-push", make, push, files=made, weight=0.6)

    def load(folder: Path) -> object:
        from synvita_data.dataset.load import load_triplets
        from synvita_data.training.data.rows import read_rows

        rows = load_triplets(str(folder / "out"), split="train", cache_dir=str(folder / "cache"))
        return [row["id"] for row in rows], read_rows(rows)

    # `datasets` reads the files itself, and says in its own words what is wrong with them.
    yield Target("dataset-load", make, load, files=made, weight=0.2)

    def manifest(folder: Path) -> None:
        write_inputs(folder)
        lines = []
        for i, path in enumerate(sorted((folder / "videos").glob("*.mp4"))):
            row = TRIPLETS[(0, 1, 2)[i]]
            lines.append({"path": path.name, "id": path.stem.removesuffix("_001"), "generator": "lavie", "seed": i,
                          "sample": 1, "caption": row[3], "config": {"steps": 5}, "revision": "1"})  # fmt: skip
        (folder / "videos" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def sources(folder: Path) -> object:
        from synvita_data.builders.sources import open_source
        from synvita_data.builders.triplets import TripletReader

        found = open_source(f"folder:{folder / 'videos'}").find(list(TripletReader(folder / "triplets.csv")))
        return str(found)

    yield Target("manifest", manifest, sources, files=("videos/manifest.jsonl",))

    def archives(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        write_inputs(folder)
        videos = sorted((folder / "videos").iterdir())
        for name, mode in (("a.tar", "w"), ("b.tar.gz", "w:gz")):
            with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
                for path in videos:
                    archive.add(path, f"lavie/{path.name}")
        with zipfile.ZipFile(folder / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in videos:
                archive.write(path, f"lavie/{path.name}")
        rows = [{"video": {"bytes": path.read_bytes(), "path": path.name}} for path in videos]
        pq.write_table(pa.Table.from_pylist(rows), folder / "d.parquet")
        shutil.rmtree(folder / "videos")

    def listed(folder: Path) -> object:
        from synvita_data.synthetic_videos.archives import Archive

        out = folder / "out"
        for name in ("a.tar", "b.tar.gz", "c.zip", "d.parquet"):
            path = folder / name
            if not path.is_file():
                continue
            archive = Archive.of(path)
            listing = archive.listing()
            [problem.to_record() for problem in listing.problems]
            for member in list(listing.videos):
                archive.size(member), archive.together(member)
        return out

    yield Target(
        "archives", archives, listed, files=("a.*", "b.*", "c.*", "d.*"), kinds={"d.parquet": "bytes"}
    )


def _results() -> Iterable[Target]:
    rows = [(p, c, 0.05 * (i * 7 % 20)) for i, (p, c, _) in enumerate(small.ssv2_pairs())]

    def make(folder: Path) -> None:
        small.write_ssv2(folder / "a.csv", small.ssv2_pairs())
        for model, turn in (("one", 1), ("two", 3)):
            scores = [(p, c, (s * turn) % 1) for p, c, s in rows]
            small.write_csv(folder / f"{model}.csv", scores, ("videopath", "caption", "entailment"))
            assert evaluate(folder, model) == 0

    def evaluate(folder: Path, model: str = "one") -> int:
        return run_program(
            "evaluate", "--predictions", folder / f"{model}.csv", "--task", "ssv2-temporal", "--annotations",
            folder / "a.csv", "--name", model, "--out", folder / "results", "--resamples", 10,
        )  # fmt: skip

    made = ("results/one/*",)

    def shown(folder: Path) -> object:
        return run_program(
            "leaderboard", folder / "results", "--json", folder / "x.json", "--markdown", folder / "x.md"
        )

    yield Target("results-leaderboard", make, shown, files=made, weight=0.5)

    def errors(folder: Path) -> object:
        return run_program(
            "errors", folder / "results/one/ssv2-temporal.json", "--annotations", folder / "a.csv", "--jsonl",
            folder / "x.jsonl", "--html", folder / "x.html",
        )  # fmt: skip

    yield Target("results-errors", make, errors, files=made, weight=0.4)
    sides = ("results/one/ssv2-temporal.json", "results/two/ssv2-temporal.json")

    def compared(folder: Path) -> object:
        return run_program(
            "compare",
            *(folder / side for side in sides),
            "--annotations",
            folder / "a.csv",
            "--resamples",
            100,
        )

    yield Target("results-compare", make, compared, files=made, weight=0.4)
    yield Target("results-evaluate-again", make, evaluate, files=("results/one/*", "one.csv"), weight=0.4)

    def predictions(folder: Path, suffix: str) -> object:
        from synvita_data.annotations import read_annotations
        from synvita_data.evaluation.predictions import read_predictions

        annotations = read_annotations("ssv2-temporal", folder / "a.csv")
        return read_predictions(
            folder / f"scores.{suffix}", annotations, allow_missing=True, allow_unknown=True
        )

    for suffix in ("csv", "parquet"):

        def written(folder: Path, suffix: str = suffix) -> None:
            small.write_ssv2(folder / "a.csv", small.ssv2_pairs())
            if suffix == "csv":
                small.write_csv(folder / "scores.csv", rows, ("videopath", "caption", "entailment"))
            else:
                make(folder)
                shutil.move(folder / "results/one/ssv2-temporal.parquet", folder / "scores.parquet")

        yield Target(
            f"predictions-{suffix}", written, partial(predictions, suffix=suffix), files=("scores.*",)
        )


def _jobs() -> Iterable[Target]:
    def make(folder: Path) -> None:
        from synvita_data.jobs import Store

        store = Store(folder / "store")
        for number in range(4):
            claim = store.claim(f"{number:040x}")
            assert claim is not None
            with claim:
                if number == 3:
                    claim.quarantine(ValueError("no such number"))
                    continue
                claim.path("square.txt").write_text(str(number**2))
                claim.commit({"number": number})
        store.close()

    def scanned(folder: Path) -> object:
        from synvita_data.jobs import Store

        store = Store(folder / "store")
        keys = [f"{number:040x}" for number in range(6)]
        try:
            for check in ("sizes", "contents"):
                store.scan(keys, check)  # type: ignore[arg-type]
            known = (
                [store.record(key) for key in keys],
                [store.failure(key) for key in keys],
                list(store.records()),
            )
            quarantined = list(store.quarantined())
            for key in keys:
                store.holder(key)
            store.clean_temporary()
            store.retry_failed()
            for claim in store.claims(keys):  # what is damaged is done again
                claim.path("square.txt").write_text("1")
                claim.commit({})
        finally:
            store.close()
        assert store.scan(keys, "sizes").pending == []  # bytes that changed in a whole file are for --verify
        return known, quarantined

    yield Target("job-store", make, scanned)

    def generate(folder: Path) -> int:
        from small_program import write_program

        spec = (
            write_program(folder / "program")
            if not (folder / "program").exists()
            else (folder / "spec").read_text()
        )
        (folder / "spec").write_text(spec)
        # The program's own place is in the recipe: it must be the same each time.
        return run_program(
            "generate", "--triplets", folder / "triplets.csv", "--generator", spec, "--out", folder / "out"
        )

    def video_folder(folder: Path) -> None:
        write_rows(folder / "triplets.csv", TRIPLET_COLUMNS, TRIPLETS)
        shutil.copytree(folder, there := folder.parent / "scratch", dirs_exist_ok=True)
        assert generate(there) == 0
        shutil.copytree(there, folder, dirs_exist_ok=True)

    files = ("out/*.jsonl", "out/.work/**/*.json*", "out/.work/*", "out/.work/store/*/*", "triplets.csv")
    yield Target("generate-again", video_folder, generate, files=files, weight=0.15)

    def contrast(folder: Path) -> int:
        return run_program(
            "contrast",
            "--captions",
            folder / "captions.csv",
            "--writer",
            "rules",
            "--out",
            folder / "out/t.csv",
        )

    def contrasts(folder: Path) -> None:
        write_rows(folder / "captions.csv", TRIPLET_COLUMNS[:3], [row[:3] for row in TRIPLETS])
        assert contrast(folder) == 0

    yield Target("contrast-again", contrasts, contrast, files=("captions.csv", "out/**/*"), weight=0.15)

    yield from (_again(name) for name in ("vqascore", "evaluate", "score"))

    def read_noted(folder: Path) -> object:
        from synvita_data.builders.generators.folder import known_prompts, read_failures
        from synvita_data.training.data.dataset import read_quarantine

        read_quarantine(folder / "training.jsonl")
        return list(read_failures(folder)), known_prompts(folder)

    def noted(folder: Path) -> None:
        base = {
            "reason": "VideoError",
            "problem": "it broke",
            "file": "x",
            "row": 3,
            "found": "y",
            "expected": "z",
        }
        lines = [base | {"videos": ["p_001.mp4", "p_002.mp4"]}, base | {"id": "p", "sample": 1}]
        (folder / "quarantine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        lines = [
            base | {"dataset_row": i, "row_id": "p", "video": v} for i, v in enumerate(("real", "synthetic"))
        ]
        (folder / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    yield Target("quarantines", noted, read_noted)


def _again(name: str) -> Target:
    """A long command that finds what it has kept of its work."""

    def start(folder: Path) -> int:
        from .runs import RUNS

        return next(run for run in RUNS if run.name == name).start(folder, folder / "o")

    def make(folder: Path) -> None:
        from .runs import RUNS

        next(run for run in RUNS if run.name == name).make(folder)
        shutil.copytree(folder, there := folder.parent / "scratch", dirs_exist_ok=True)
        assert start(there) == 0
        shutil.copytree(there, folder, dirs_exist_ok=True)

    return Target(f"{name}-again", make, start, files=("o/**/*.json*",), weight=0.15)


def _videos() -> Iterable[Target]:
    def plain(folder: Path) -> object:
        from synvita_data.video import FramePolicy
        from synvita_data.video import decode as read

        return read(folder / "clip.mp4", FramePolicy(count=4))

    yield Target("video-mp4", lambda f: write_clip(f / "clip.mp4", frames=6), plain)

    def other(folder: Path, suffix: str, codec: str) -> None:
        import av
        import numpy as np

        with av.open(str(folder / "clip.mp4"), "w", format=suffix) as container:
            stream = container.add_stream(codec, rate=8)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for seed in range(6):
                pixels = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), dtype=np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels)):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)

    for suffix, codec in (("webm", "libvpx"), ("avi", "mpeg4"), ("mpegts", "mpeg2video")):
        yield Target(f"video-{suffix}", partial(other, suffix=suffix, codec=codec), plain, weight=0.6)


def _models() -> Iterable[Target]:
    def features(folder: Path) -> object:
        from synvita_data.models.features import FeatureCache

        cache = FeatureCache(folder / "store", {"frames": {"count": 4}})
        try:
            return [cache.get(f"{number:040x}") for number in range(3)]
        finally:
            cache.close()

    def store(folder: Path) -> None:
        import torch

        from synvita_data.models.families.family import PreparedVideo
        from synvita_data.models.features import FeatureCache, KnownVideo
        from synvita_data.models.strategies import EncodedVideo

        cache = FeatureCache(folder / "store", {"frames": {"count": 4}}, ("pixel_values",))
        for number in range(2):
            prepared = PreparedVideo({"pixel_values": torch.ones(2, 3)}, "<video>", (4,))
            encoded = EncodedVideo(prepared, {"video": torch.ones(3, 4) * number})
            assert cache.put(f"{number:040x}", KnownVideo(encoded, {"indices": [0, 1]}))
        cache.close()

    yield Target("feature-store", store, features, weight=0.5)

    def tiny(folder: Path) -> None:
        from synvita_data.testing import make_tiny

        make_tiny("video_llava", folder / "model")

    def found(folder: Path) -> object:
        from synvita_data.models.loading import explained
        from synvita_data.models.processors import load_processor
        from synvita_data.models.released.weights import read_shapes
        from synvita_data.models.resolve import find_checkpoint

        checkpoint = find_checkpoint(str(folder / "model"))
        for path in (folder / "model").glob("*.safetensors"):
            read_shapes(path)
        with explained("model"):  # as a model is loaded
            load_processor(str(folder / "model"))
        return checkpoint

    yield Target(
        "checkpoint-settings",
        tiny,
        found,
        files=("model/*.json", "model/*.jinja", "model/*.safetensors"),
        weight=0.1,
    )

    def adapter(folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        (folder / "base").mkdir()
        (folder / "base" / "config.json").write_text(
            json.dumps({"model_type": "video_llava", "architectures": ["X"]})
        )
        (folder / "own").mkdir()
        settings = {
            "peft_type": "LORA",
            "base_model_name_or_path": "base",
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q"],
        }
        (folder / "own" / "adapter_config.json").write_text(json.dumps(settings))
        (folder / "own" / "training_args.json").write_text(json.dumps({"prompt": "question", "frames": 8}))
        save_file({"a": torch.ones(2)}, folder / "own" / "adapter_model.safetensors")

    def resolved(folder: Path) -> object:
        from synvita_data.models.released.lora_settings import read_lora_settings
        from synvita_data.models.resolve import find_checkpoint

        read_lora_settings(folder / "own")
        return find_checkpoint(str(folder / "base"), adapter=str(folder / "own"))

    yield Target("adapters", adapter, resolved, weight=0.5)


TARGETS = (*_datasets(), *_results(), *_jobs(), *_videos(), *_models())
