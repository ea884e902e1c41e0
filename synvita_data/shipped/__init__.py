"""Models that come with the package: two states of a Video-LLaVA that knows the shapes world, a folder each.

Their names are understood wherever a model is named (`models.resolve`), and nothing is downloaded. What they are, how
they were made and what they can do stands in their cards; `docs/shapes.md` says how to make them again.
"""

from pathlib import Path

SHIPPED = ("shapes-video-llava", "shapes-video-llava-early")


def shipped_folder(name: str) -> Path | None:
    """The folder of a model that comes with the package; None for any other name, and where a folder here has the name."""
    if name not in SHIPPED or Path(name).is_dir():
        return None
    return Path(__file__).parent / name
