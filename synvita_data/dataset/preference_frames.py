"""Preference data for TRL, read: the frames that a sample's `images` name are decoded when the sample is read.

TRL's trainers take pictures and no videos. The export therefore names frames (a file, seconds, which of how many), so
that no real video is copied, and this puts the pictures in their place. They stand in the column `images` itself,
because a trainer removes columns that it does not know before it reads rows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SchemaError
from ..files import read_json, resolve_under
from ..video import FramePolicy, decode
from .preference import RECORD

if TYPE_CHECKING:
    import datasets
    from PIL.Image import Image


class DecodedFrames:
    """Puts pictures in the place of frames that are named; a transform of `datasets`.

    Args:
        folder: of the export, below which relative paths are.
        size: of the frames, as `FramePolicy` has it.
    """

    def __init__(self, folder: str, size: int | tuple[int, int] | None = None) -> None:
        self.folder, self.size = folder, size

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        decoded = dict(batch)
        if "images" in decoded:
            decoded["images"] = [self.pictures(named) for named in decoded["images"]]
        return decoded

    def pictures(self, named: list[dict[str, Any]]) -> "list[Image]":
        """The pictures of one sample: frames of one video, decoded at once.

        Raises:
            VideoError: the video cannot be read.
            SchemaError: the frames are not of one video.
        """
        from PIL import Image

        if not named:
            return []
        first = {key: value for key, value in named[0].items() if key != "frame"}
        if any({key: value for key, value in each.items() if key != "frame"} != first for each in named):
            raise SchemaError("the images of a sample are frames of several videos", file=self.folder)
        video = Path(first["video"])
        path = video if video.is_absolute() else resolve_under(Path(self.folder), first["video"])
        policy = FramePolicy(count=first["frames"], size=self.size)
        frames = decode(path, policy, first["start"], first["end"])
        return [Image.fromarray(frames.pixels[each["frame"]]) for each in named]


def load_preferences(
    folder: str | Path, split: str = "train", *, size: int | tuple[int, int] | None = None
) -> "datasets.Dataset":
    """The preference data of `synvita export --to trl` as a dataset for TRL's trainers.

    Args:
        folder: of the export.
        split: of the dataset that was exported.
        size: of the frames: the shorter side, or (height, width); None keeps that of the video.

    Returns:
        A `Dataset` with `prompt`, `chosen`, `rejected` (lists of messages) and `images` (lists of PIL pictures, decoded
        when a row is read), and `id`, `kind`, `misalignment`, `weight`.

    Raises:
        SynvitaError: the folder is not such an export, or has no such split.
    """
    import datasets

    folder = Path(folder).expanduser().absolute()
    record = read_json(folder / RECORD, "the record of an export", error=SchemaError)
    if record.get("format") != "trl":
        raise SchemaError(
            "this is preference data of another program",
            file=folder / RECORD,
            found=record.get("format"),
            expected="trl",
        )
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        raise SchemaError(
            "the export has no such split",
            file=folder,
            found=split,
            expected=f"one of {', '.join(record.get('samples', ()))}",
        )
    text, real, number = datasets.Value("string"), datasets.Value("float64"), datasets.Value("int32")
    message = datasets.List({"role": text, "content": text})
    frame = {"video": text, "start": real, "end": real, "frame": number, "frames": number}
    features = datasets.Features(
        {
            "prompt": message,
            "chosen": message,
            "rejected": message,
            "images": datasets.List(frame),
            "id": text,
            "kind": text,
            "misalignment": text,
            "weight": real,
        }
    )
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", features=features)
    return loaded.with_transform(DecodedFrames(str(folder), size))
