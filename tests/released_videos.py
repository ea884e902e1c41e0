"""Small synthetic videos under the authors' names, in each layout that their repository may have; and training CSVs."""

import csv
import hashlib
import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LAYOUTS = ("loose", "nested", "tar", "tar.gz", "zip", "parquet", "parquet-names")
PROMPT = (
    "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.\nHuman: <|video|>\nHuman: {question} {caption}?\nAI: {answer}"
)
ENTAILS = "Does this video entail the description:"
EXPLAINS = "What is the misalignment between this video and the description:"


@lru_cache
def mp4(seed: int) -> bytes:
    """A real mp4 of four frames; another seed gives other bytes."""
    from synvita_data.video import encode_mp4

    pixels = np.random.default_rng(seed).integers(0, 255, (4, 32, 48, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        sink = Path(folder) / "x.mp4"
        encode_mp4(pixels, 8, sink)
        return sink.read_bytes()


def write_layout(root: Path, layout: str, videos: Mapping[str, bytes], generator: str = "cogvideox") -> Path:
    """`videos` (name -> bytes) of one generator below `root`; another generator may be written beside it."""
    root.mkdir(parents=True, exist_ok=True)
    if layout in ("loose", "nested"):
        folder = root / generator if layout == "loose" else root / "data" / generator / "videos" / "train"
        folder.mkdir(parents=True)
        for name, data in videos.items():
            (folder / name).write_bytes(data)
    elif layout in ("tar", "tar.gz"):
        with tarfile.open(root / f"{generator}.{layout}", "w:gz" if layout == "tar.gz" else "w") as archive:
            for name, data in videos.items():
                add_to_tar(archive, f"train/{name}", data)
    elif layout == "zip":
        with zipfile.ZipFile(root / f"{generator}.zip", "w") as archive:
            for name, data in videos.items():
                archive.writestr(f"train/{name}", data)
    elif layout == "parquet":
        cells = [{"bytes": data, "path": name} for name, data in videos.items()]
        (root / generator).mkdir()
        pq.write_table(pa.table({"video": cells}), root / generator / "train-00000.parquet", row_group_size=2)
    else:
        names = [name.removesuffix(".mp4") for name in videos]
        (root / generator).mkdir()
        table = pa.table({"id": names, "mp4": pa.array(list(videos.values()), pa.binary())})
        pq.write_table(table, root / generator / "train-00000.parquet", row_group_size=2)
    return root


def as_hub_snapshot(folder: Path, cache: Path, repo: str = "datasets--someone--videos") -> Path:
    """The files of `folder` as `hf download` keeps them: links in a snapshot of the cache to the repository's blobs."""
    snapshot = cache / repo / "snapshots" / ("a" * 40)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        blob = cache / repo / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        link = snapshot / path.relative_to(folder)
        for each in (blob, link):
            each.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def add_to_tar(archive: tarfile.TarFile, name: str, data: bytes = b"", **attributes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    archive.addfile(info, io.BytesIO(data))


def write_triplets(path: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """Rows of videopath, source, caption and contrast caption."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("videopath", "source", "caption", "neg_caption"), *rows])
    return path


def prompt(caption: str, answer: str, question: str = ENTAILS) -> str:
    return PROMPT.format(question=question, caption=f'"{caption}"', answer=answer)


def training_rows(
    videopath: str,
    name: str,
    caption: str,
    neg_caption: str,
    *,
    alignment: object = 0.25,
    diff: object = 0.5,
    explanation: str | None = None,
    folder: str = "cogvideox",
) -> list[dict[str, object]]:
    """The rows of one triplet as the authors' CSVs have them."""
    real = {
        "videopath": videopath,
        "domain": "real",
        "syn_video": name,
        "alignment": "",
        "alignment_diff": "",
    }
    made = {"videopath": f"{folder}/{name}.mp4", "domain": "synthetic", "syn_video": ""}
    made |= {"alignment_diff": diff}
    rows = [
        real | {"caption": prompt(caption, "Yes"), "label": 1},
        real | {"caption": prompt(neg_caption, "No"), "label": 0},
        made | {"caption": prompt(neg_caption, "Yes"), "label": 1, "alignment": ""},
        made | {"caption": prompt(caption, "No"), "label": 0, "alignment": alignment},
    ]
    if explanation is not None:
        text = prompt(neg_caption, explanation, EXPLAINS)
        rows.append(real | {"syn_video": "", "caption": text, "label": 0})
    return rows


def write_training_csv(path: Path, rows: list[dict[str, object]], columns: tuple[str, ...] = ()) -> Path:
    """The rows in the order of `columns`, with one that nobody reads."""
    names = columns or (
        "number",
        "label",
        "videopath",
        "alignment_diff",
        "caption",
        "domain",
        "alignment",
        "syn_video",
    )
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow({name: row.get(name, number) for name in names})
    return path
