"""Which column of an annotation file holds which field of a `Triplet`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from synvita_data.errors import SchemaError

# Field -> accepted column names, best first, as `normal_name` writes them. VideoCon's own names come
# first; the others are those of comparable caption-pair files.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "caption": ("caption", "real_caption", "pos_caption", "positive_caption", "original_caption", "text"),
    "neg_caption": ("neg_caption", "negative_caption", "contrast_caption", "contrast", "negative", "foil"),
    "videopath": ("videopath", "video_path", "video", "video_file", "video_name", "filepath", "filename"),
    "video_id": ("video_id", "videoid", "vid_id", "vid", "id"),
    "video_url": ("video_url", "videourl", "url"),
    "youtube_key": ("youtube_key", "youtube_id", "yt_id"),
    "source": ("source", "dataset"),
    "split": ("split", "subset", "partition"),
    "misalignment": ("misalignment", "misalignment_type"),
    "nle": ("nle", "natural_language_explanation", "explanation", "feedback"),
    "hard": ("hard", "is_hard"),
    "start": ("start", "start_time", "start_sec", "start_seconds"),
    "end": ("end", "end_time", "end_sec", "end_seconds"),
}
REQUIRED = ("caption", "neg_caption")


def normal_name(column: str) -> str:
    """A column name without byte-order mark and surrounding space, lower case, words joined by `_`."""
    words = column.strip("\ufeff \t\r\n").lower().replace("-", " ").replace("_", " ").split()
    return "_".join(words)


def choose_columns(found: Sequence[str], file: str | Path) -> dict[str, int]:
    """Field -> index of the column in `found` that holds it; other columns are left out.

    Raises:
        SchemaError: a required column is missing, or two columns have the name of one field.
    """
    names = [normal_name(column) for column in found]
    chosen: dict[str, int] = {}
    for field, aliases in ALIASES.items():
        name = next((alias for alias in aliases if alias in names), None)
        if name is None:
            continue
        if names.count(name) > 1:
            raise SchemaError(
                f"two columns could be {field!r}",
                file=file,
                found=[column for column, other in zip(found, names, strict=True) if other == name],
                expected=f"one column named {name!r}",
                fix="Rename or remove the other",
            )
        chosen[field] = names.index(name)
    missing = [field for field in REQUIRED if field not in chosen]
    if missing:
        raise SchemaError(
            f"no column for {' and '.join(missing)}",
            file=file,
            found=f"columns {list(found)}",
            expected="; ".join(f"{field} as one of {', '.join(ALIASES[field])}" for field in missing),
            fix="Name the columns as VideoCon does: caption, neg_caption, videopath, source, split, …",
        )
    # A bare `id` beside a path or URL numbers the rows, it does not name the video.
    named_by_row = "video_id" in chosen and names[chosen["video_id"]] == "id"
    if named_by_row and ("videopath" in chosen or "video_url" in chosen):
        del chosen["video_id"]
    return chosen
