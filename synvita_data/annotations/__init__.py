"""Annotations of the tasks: read as they were published, or as `builders/publish/annotations.py` packs them."""

from .forms import find_form
from .read import read_annotations, tasks_at
from .table import AnnotationReport, Annotations, make_annotations, make_text_id
from .videos import Resolver, VideoRef

__all__ = [
    "AnnotationReport",
    "Annotations",
    "Resolver",
    "VideoRef",
    "find_form",
    "make_annotations",
    "make_text_id",
    "read_annotations",
    "tasks_at",
]
