"""Read the annotation files of the tasks, as they were published or as `builders/publish/annotations.py` packs them."""

from .read import read_annotations

__all__ = ["read_annotations"]
