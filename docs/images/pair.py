"""Draws pair.png of the README: a caption pair of the shapes world, its two clips, the hidden words and the weight.

.venv/bin/python docs/images/pair.py
"""

import tempfile
from pathlib import Path

import datasets
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from synvita_data import FramePolicy, decode, hidden_spans, load_triplets
from synvita_data.builders.dataset import BuildOptions, build_dataset
from synvita_data.builders.shapes import make_shapes

CAPTION = "A large red triangle blinks."
SIDE, GAP, LEFT = 132, 8, 24
INK, PALE, HIDDEN = "#1f2328", "#59636e", "#ffd8b5"


def find_row(folder: Path) -> dict:
    """The row of a dataset that the package builds from the shapes world."""
    world = make_shapes(folder / "world", pairs=70, seed=0)
    build_dataset(
        BuildOptions(
            triplets=world.triplets,
            vqascores=world.vqascores,
            synthetic=f"folder:{world.synthetic}",
            real_root=world.real,
            config="shapes",
            out=folder / "dataset",
        )
    )
    splits = load_triplets(folder / "dataset", "shapes", real_root=world.real, cache_dir=folder / "cache")
    return next(row for split in splits.values() for row in split if row["caption"] == CAPTION)


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib."""
    properties = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return ImageFont.truetype(font_manager.findfont(properties), size)


def write_caption(draw: ImageDraw.ImageDraw, top: int, text: str, shared: list[list[int]]) -> None:
    """The caption, with what the mask hides on a coloured ground."""
    large = font(19)
    for start, end in hidden_spans(text, [(a, b) for a, b in shared]):
        left, right = (LEFT + large.getlength(text[:place]) for place in (start, end))
        draw.rounded_rectangle((left - 3, top - 2, right + 3, top + 26), 4, fill=HIDDEN)
    draw.text((LEFT, top), text, INK, large)


def paste_clip(image: Image.Image, top: int, video: dict) -> None:
    """Six frames of a clip."""
    frames = decode(video["bytes"] or video["path"], FramePolicy(count=6, rule="segment-midpoints"))
    for place, pixels in enumerate(frames.pixels):
        frame = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.paste(frame, (LEFT + place * (SIDE + GAP), top))


def main() -> None:
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        row = find_row(Path(folder))
        image = Image.new("RGB", (2 * LEFT + 6 * SIDE + 5 * GAP, 482), "white")
        draw = ImageDraw.Draw(image)
        scores = [
            sum(score[name] for score in row["vqascores"]) / len(row["vqascores"])
            for name in ("neg_caption_score", "caption_score")
        ]
        draw.text((LEFT, 14), "caption, and its real clip", PALE, font(14))
        write_caption(draw, 36, row["caption"], row["shared"]["caption"])
        paste_clip(image, 72, row["real_video"])
        draw.text((LEFT, 224), "contrast caption, and the clip that a generator made for it", PALE, font(14))
        write_caption(draw, 246, row["neg_caption"], row["shared"]["neg_caption"])
        paste_clip(image, 282, row["synthetic_video"])
        weight = f"weight ω = {row['weight']:.2f}"
        draw.text((LEFT, 428), weight, INK, font(19, bold=True))
        reason = (
            f"VQAScore of the synthetic clip: {scores[0]:.2f} with the contrast caption, "
            f"{scores[1]:.2f} with the caption"
        )
        draw.text((LEFT + font(19, bold=True).getlength(weight) + 18, 432), reason, PALE, font(14))
        draw.rounded_rectangle((LEFT, 458, LEFT + 14, 472), 3, fill=HIDDEN)
        draw.text((LEFT + 20, 456), "what the mask hides: all but what both captions share", PALE, font(13))
        image.save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
