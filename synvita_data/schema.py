"""The dataset's columns, their types, and the identifiers of pairs and rows.

One row is a triplet: a real video with its caption, a contrast caption, and a synthetic video made
from the contrast caption. `docs/dataset.md` describes every column for readers.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SchemaError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

SCHEMA_VERSION = "1.0"
# Of tables with the column `contrast`, which says how their contrast captions were written.
CONTRAST_VERSION = "1.1"

# VideoCon's seven kinds of contrast caption, in the order of the published ClassLabel.
MISALIGNMENTS: tuple[str, ...] = (
    "action",
    "attribute",
    "count",
    "flip",
    "hallucination",
    "object",
    "relation",
)
SPLITS = ("train", "validation", "test")
# A table that was saved without them is one of triplets all the same: JSON holds no videos.
VIDEO_COLUMNS = ("real_video", "synthetic_video")
# The config that stays default on the Hub where it exists.
DEFAULT_CONFIG = "cogvideox"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastCheck:
    """A check that a contrast caption has passed.

    Attributes:
        name: `mechanical`, `nli` or `frame-vqa`.
        score: what the check's model gave; None where no model was asked.
        model: its name.
        revision: of the model, or of the rules.
        threshold: that the score was held against.
    """

    name: str
    score: float | None = None
    model: str | None = None
    revision: str | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastRecord:
    """How a contrast caption was written.

    Attributes:
        writer: `rules`, `llm:MODEL`, `api:HOST#MODEL`, `shapes`, or what another program calls itself; None where unknown.
        revision: of the writer's tables or model.
        prompts: digest of the prompts; None for a writer without.
        settings: the writer's other settings, a JSON object as text with sorted keys; None where there are none.
        seed: that the writer was given.
        source_phrase: the words of the caption that were changed; None where the kind has none.
        target_phrase: what stands in their place.
        candidates: how many usable ones it was chosen from, from 1.
        checks: those that it has passed.
    """

    writer: str | None = None
    revision: str | None = None
    prompts: str | None = None
    settings: str | None = None
    seed: int | None = None
    source_phrase: str | None = None
    target_phrase: str | None = None
    candidates: int | None = None
    checks: tuple[ContrastCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """What an annotation file says of one triplet; no video, score or mask yet.

    Attributes:
        source: dataset of the real video (`msr-vtt`, `vatex`, `tempo`, …), lower case.
        video_id: id of the real video inside its source, as in `<source>_<video_id>_<NNN>.mp4`.
        videopath: the video's name in the annotation file, untouched (VideoCon's key); may be None.
        caption: describes the real video.
        neg_caption: contrast caption, describes the synthetic one.
        split: train, validation or test.
        start: second in the *source* video at which what the caption is about begins; None for a whole file.
        end: second at which it ends; None for a whole file.
        youtube_key: another name of the real video, None where unknown.
        video_url: its address, None where unknown.
        nle: natural-language explanation of the misalignment, None where unknown.
        misalignment: one of MISALIGNMENTS, None where unknown.
        hard: VideoCon-Human's flag for Human-Hard, None elsewhere.
        contrast: how the contrast caption was written, None where unknown.
        syn_video: name of its synthetic video without suffix, as a training CSV gives it; never published.
        alignment: f̄(V^s, t^r) of that CSV, in [0, 1]; None where it does not say; never published as such.
        alignment_diff: f̄(V^s, t^s) − f̄(V^s, t^r) of it, in [-1, 1], 1.0 where its cell is empty; None without such a
            CSV; never published as such.
        file: where the triplet was read, for messages; never published.
        row: the row of that file, counted from 0; never published.
    """

    source: str
    video_id: str
    caption: str
    neg_caption: str
    split: str = "train"
    videopath: str | None = None
    start: float | None = None
    end: float | None = None
    youtube_key: str | None = None
    video_url: str | None = None
    nle: str | None = None
    misalignment: str | None = None
    hard: bool | None = None
    contrast: ContrastRecord | None = None
    syn_video: str | None = None
    alignment: float | None = None
    alignment_diff: float | None = None
    file: str | None = None
    row: int | None = None

    @property
    def pair_id(self) -> str:
        """Stable id of the pair of captions and its real video; see `make_pair_id`."""
        return make_pair_id(self.source, self.video_id, self.caption, self.neg_caption)

    @property
    def video_key(self) -> str:
        """`<source>_<video_id>`: how files of synthetic videos name their real video."""
        return f"{self.source}_{self.video_id}"


def make_pair_id(source: str, video_id: str, caption: str, neg_caption: str) -> str:
    """`<source>_<video_id>_<digest>`, safe as a file name; equal input gives an equal id for ever.

    The digest is the first 10 hex digits of SHA-256 over the JSON list of the four strings, so that
    two ids that look alike after unsafe characters were replaced still differ.
    """
    digest = _digest(source, video_id, caption, neg_caption)[:10]
    return f"{_safe(source)}_{_safe(video_id.replace('%2F', '_'))}_{digest}"


def make_row_id(pair_id: str, generator: str | None, sample: int | None) -> str:
    """`<pair_id>-<generator>-<NNN>`: one synthetic sample of one pair; `pair_id` without a generator.

    Samples count from 1. A row whose synthetic video is missing carries sample 1, so that its id
    does not change when the video arrives.
    """
    if generator is None:
        return pair_id
    return f"{pair_id}-{_safe(generator)}-{1 if sample is None else sample:03d}"


# The published columns as `datasets` writes them into the metadata of Parquet files. Arrow's types, the features of a
# card and `datasets.Features` are all made of this, so that a build need not import `datasets`, which takes a second.
_TEXT, _REAL, _BOOL = ({"dtype": name, "_type": "Value"} for name in ("string", "float64", "bool"))
_INT32, _INT64 = ({"dtype": name, "_type": "Value"} for name in ("int32", "int64"))
# decode=False: rows open without torchcodec or FFmpeg (struct of bytes and path).
_VIDEO = {"decode": False, "_type": "Video"}


def _list_of(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


_COLUMNS: dict[str, Any] = {
    "id": _TEXT,
    "pair_id": _TEXT,
    "source": _TEXT,
    "video_id": _TEXT,
    "videopath": _TEXT,
    "start": _REAL,
    "end": _REAL,
    "youtube_key": _TEXT,
    "video_url": _TEXT,
    "caption": _TEXT,
    "neg_caption": _TEXT,
    "nle": _TEXT,
    "misalignment": {"names": list(MISALIGNMENTS), "_type": "ClassLabel"},
    "hard": _BOOL,
    "real_video": _VIDEO,
    "synthetic_video": _VIDEO,
    "real_available": _BOOL,
    "generation": {
        "generator": _TEXT,
        "revision": _TEXT,
        "sample": _INT32,
        "seed": _INT64,
        "config": _TEXT,  # JSON object, keys sorted
        "sha256": _TEXT,  # of the synthetic video's bytes
    },
    "vqascores": _list_of(
        {
            "model": _TEXT,
            "revision": _TEXT,
            "method": _TEXT,
            "neg_caption_score": _REAL,
            "caption_score": _REAL,
        }
    ),
    "weight": _REAL,
    # Half-open [start, end] spans in code points, kept in each caption; the rest is hidden.
    "shared": {
        "caption": _list_of(_list_of(_INT32)),
        "neg_caption": _list_of(_list_of(_INT32)),
        "granularity": _TEXT,
    },
}
_CONTRAST_COLUMN: dict[str, Any] = {
    "writer": _TEXT,
    "revision": _TEXT,
    "prompts": _TEXT,
    "settings": _TEXT,  # JSON object, keys sorted
    "seed": _INT64,
    "source_phrase": _TEXT,
    "target_phrase": _TEXT,
    "candidates": _INT32,
    "checks": _list_of(
        {"name": _TEXT, "score": _REAL, "model": _TEXT, "revision": _TEXT, "threshold": _REAL}
    ),
}


def _columns(contrast: bool) -> dict[str, Any]:
    return {**_COLUMNS, **({"contrast": _CONTRAST_COLUMN} if contrast else {})}


def features(*, contrast: bool = False) -> "datasets.Features":
    """The published columns as `datasets.Features` (imports `datasets`).

    Args:
        contrast: with the column that says how contrast captions were written.
    """
    from datasets import Features

    return Features.from_dict(_columns(contrast))


def card_features(*, contrast: bool = False) -> list[dict[str, Any]]:
    """`features()` as the `dataset_info` of a card lists them."""
    return [{"name": name, **_in_a_card(kind)} for name, kind in _columns(contrast).items()]


def _in_a_card(kind: dict[str, Any]) -> dict[str, Any]:
    """A feature as YAML of a card says it, without its name."""
    match kind.get("_type"):
        case "Value":
            return {"dtype": kind["dtype"]}
        case "ClassLabel":
            names = {str(label): name for label, name in enumerate(kind["names"])}
            return {"dtype": {"class_label": {"names": names}}}
        case "Video":
            return {"dtype": {"video": {"decode": kind["decode"]}}}
        case "List":
            inner = _in_a_card(kind["feature"])
            return {"list": inner.get("dtype", inner.get("struct", inner))}
    return {"struct": [{"name": name, **_in_a_card(inner)} for name, inner in kind.items()]}


def arrow_schema(*, contrast: bool = False) -> "pa.Schema":
    """`features()` as an Arrow schema whose metadata holds the features and `schema_version`.

    Args:
        contrast: as of `features`; such a table is of version 1.1, all others stay as they were.

    `load_dataset` on Parquet files written with it gives back ClassLabel and `Video(decode=False)`
    with nothing of this package installed.
    """
    import pyarrow as pa

    columns = _columns(contrast)
    version = CONTRAST_VERSION if contrast else SCHEMA_VERSION
    metadata = {"huggingface": json.dumps({"info": {"features": columns}}), "schema_version": version}
    return pa.schema([(name, _arrow_type(kind)) for name, kind in columns.items()], metadata=metadata)


def _arrow_type(kind: dict[str, Any]) -> "pa.DataType":
    import pyarrow as pa

    match kind.get("_type"):
        case "Value":
            return pa.bool_() if kind["dtype"] == "bool" else getattr(pa, kind["dtype"])()
        case "ClassLabel":
            return pa.int64()
        case "Video":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case "List":
            return pa.list_(_arrow_type(kind["feature"]))
    return pa.struct([(name, _arrow_type(inner)) for name, inner in kind.items()])


def check_table(schema: "pa.Schema", *, file: str) -> None:
    """Raise `SchemaError` unless a table with this Arrow schema is one of triplets that this code reads.

    What `synvita build` wrote says its schema version. `datasets` drops it when it saves or publishes a table, so a
    table without one is taken by its columns.
    """
    if b"schema_version" in (schema.metadata or {}):
        check_schema_version(schema.metadata, file=file)
        return
    missing = [name for name in _COLUMNS if name not in schema.names and name not in VIDEO_COLUMNS]
    if missing:
        raise SchemaError(
            "not a table of triplets: it lacks columns",
            file=file,
            found=f"columns {', '.join(schema.names)}",
            expected=f"also {', '.join(missing)}",
            fix="docs/dataset.md lists the columns; select and remove none of them before saving",
        )


def check_schema_version(metadata: Mapping[bytes, bytes] | None, *, file: str) -> None:
    """Raise `SchemaError` unless Parquet `metadata` names a schema version this code reads."""
    found = (metadata or {}).get(b"schema_version", b"").decode(errors="replace") or None
    if found is None or found.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise SchemaError(
            "a table is of another schema version",
            file=file,
            found=found or "no schema_version in the Parquet metadata",
            expected=f"schema_version {SCHEMA_VERSION.split('.')[0]}.x",
            fix="Rebuild it, or install the version of synvita-data that wrote it",
        )


_encode = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` makes one for every text


def _digest(*parts: str) -> str:
    return hashlib.sha256(_encode(parts).encode()).hexdigest()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.") or "x"
