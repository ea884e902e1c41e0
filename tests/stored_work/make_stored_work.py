"""Writes `files/`: inputs, and what the code of commit 79b0f4d made of them.

    git worktree add ../then 79b0f4d && cd ../then && make setup
    cp -r ../synvita/tests/stored_work tests/ && rm -rf tests/stored_work/files
    .venv/bin/python tests/stored_work/make_stored_work.py

`test_stored_work.py` holds the code of today to it, so the files are never made again with newer code: a later
promise gets a folder of its own.
"""

import csv
import json
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

import numpy as np
from typer.testing import CliRunner
from work_keys import FILES, StoredScorer, all_keys, annotations, build, pixels, real_videos

from synvita_data.builders.generators import generate_videos
from synvita_data.builders.triplets import TripletReader
from synvita_data.builders.vqascore import find_model, score_videos
from synvita_data.cli import app
from synvita_data.evaluation.scoring import score_task
from synvita_data.files import sha256_file
from synvita_data.scoring import ItemScores
from synvita_data.tasks import get_task
from synvita_data.video import encode_mp4

HEADER = ["videopath", "source", "caption", "neg_caption", "nle", "split", "misalignment"]
TRIPLETS = [
    ["video1.mp4", "msr-vtt", "a dog runs", "a cat runs", "It is a dog.", "train", "object"],
    ["video2.mp4", "msr-vtt", "A man sings.", "A man talks.", "He sings.", "train", "action"],
    [
        "k600/val/eOsIGrDFuuw_000004_000014.mp4",
        "vatex",
        "Two men run.",
        "Three men run.",
        "",
        "train",
        "count",
    ],
    ["tempo/videos/7.mp4", "tempo", "She sits, then stands.", "She stands, then sits.", "", "test", "flip"],
]
NAMES = ("msr-vtt_video1", "msr-vtt_video2", "vatex_eOsIGrDFuuw_000004_000014", "tempo_7")
PROGRAM = """
import pathlib, sys
prompts, out, seed = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
for number, line in enumerate(prompts.read_text().splitlines(), start=1):
    (out / f"{number:04d}.mp4").write_bytes(pathlib.Path(__file__).with_name("clip.mp4").read_bytes())
"""


class LengthScorer(StoredScorer):
    """A number from the video's bytes and the caption."""

    def score(self, items):
        for item in items:
            scores = [len(item.video.read_bytes()) / 7 + len(text.caption) / 3 for text in item.texts]
            yield ItemScores(item.item_id, np.array(scores), (0, 3), {"backend": "none"})


def write_csv(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def main() -> None:
    if FILES.exists():
        sys.exit(f"{FILES} is there: it is made once")
    for folder in ("lavie", "cogvideox", "videos"):
        (FILES / folder).mkdir(parents=True)
    write_csv(FILES / "triplets.csv", [HEADER, *TRIPLETS])
    triplets = list(TripletReader(FILES / "triplets.csv"))
    scores = [
        [row, model, (row + 3 + m) / 10, (5 - row) / 10]
        for row in range(4)
        for m, model in enumerate(("model-a", "model-b"))
    ]
    write_csv(FILES / "by-row.csv", [["row", "model", "neg_caption_score", "caption_score"], *scores])
    for number, name in enumerate(NAMES[:3]):
        encode_mp4(pixels(number), 8, FILES / f"lavie/{name}_001.mp4")
    lines = []
    for number, (triplet, sample) in enumerate([(0, 1), (0, 2), (1, 1), (3, 1)]):
        file = f"clip{number}.mp4"
        encode_mp4(pixels(10 + number), 8, FILES / "cogvideox" / file)
        lines.append(
            {
                "id": triplets[triplet].pair_id,
                "path": file,
                "sample": sample,
                "generator": "CogVideoX-5b",
                "revision": "c" * 40,
                "seed": number,
                "config": {"steps": 50, "guidance": 6.0},
                "sha256": sha256_file(FILES / "cogvideox" / file),
            }
        )
    (FILES / "cogvideox/manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vqascore(folder, triplets)
        build(FILES / "triplets.csv", FILES, folder / "dataset")
        shutil.copytree(
            folder / "dataset", FILES / "dataset", ignore=shutil.ignore_patterns(".work", "figures")
        )
        generated(folder, triplets)
        evaluated(folder)
        (FILES / "keys.json").write_text(json.dumps(all_keys(folder / "keys"), indent=1) + "\n")
    for path in [*FILES.rglob("owners"), *FILES.rglob("clock")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def vqascore(folder: Path, triplets: list) -> None:
    """A score table of a tiny model, and the store it came from."""
    from synvita_data.testing import make_tiny

    model = find_model(str(make_tiny("llava", folder / "tiny-llava")))
    report = score_videos(
        triplets, f"folder:{FILES / 'cogvideox'}", [model], FILES / "scores.parquet", work=folder / "vqa"
    )
    assert report.complete
    assert report.exit_status == 0
    shutil.copytree(folder / "vqa/vqascore", FILES / "vqascore-work/vqascore")
    known = {"label": model.label, "revision": model.revision, "kind": model.kind, "type": model.model_type}
    (FILES / "vqascore-model.json").write_text(json.dumps(known, indent=1) + "\n")


def generated(folder: Path, triplets: list) -> None:
    """Videos of a program, with the store."""
    (folder / "program").mkdir()
    with chdir(folder / "program"):
        Path("paint.py").write_text(PROGRAM)
        encode_mp4(pixels(20), 8, Path("clip.mp4"))
        overrides = ["prompts_per_job=2", "revision=r1"]
        spec = "command:python -S ./paint.py {prompts} {out} {seed}"
        report = generate_videos(
            triplets[:3], spec, folder / "generated", overrides=overrides, name="painter"
        )
    assert (report.made, report.failed) == (2, 0), report.lines()
    shutil.copytree(folder / "generated", FILES / "generated")


def evaluated(folder: Path) -> None:
    """Result files of chance, and the store of a run with a scorer of our own."""
    clips = [f"videos/{number}.mp4" for number in range(4)]
    for number, clip in enumerate(clips):
        (FILES / clip).write_bytes(b"a video" * (number + 1))
    captions = ["Closing [something]", "Opening [something]"]
    pairs = [
        [clip, text, int(n // 2 == m)] for n, clip in enumerate(clips) for m, text in enumerate(captions)
    ]
    header = ["videopath", "caption", "match"]
    write_csv(FILES / "ssv2.csv", [header, *pairs])
    arguments = ["evaluate", "chance", "--task", "ssv2-temporal", "--annotations", "ssv2.csv"]
    with chdir(FILES):  # results name the file as it was given
        found = CliRunner().invoke(app, [*arguments, "--out", str(folder / "results")])
    assert found.exit_code == 0, found.output
    shutil.copytree(folder / "results/chance", FILES / "results/chance")
    scored = score_task(
        LengthScorer(), get_task("ssv2-temporal"), annotations(), real_videos(FILES), folder / "scored"
    )
    assert scored is not None
    assert scored.reused == 0
    shutil.copytree(folder / "scored", FILES / "evaluate-work")


if __name__ == "__main__":
    main()
