"""The benchmarks: one declarative file each, their published numbers, and readers of their annotations."""

from ..errors import SchemaError
from . import atp_hard, ssv2_events, ssv2_temporal, videocon_human, videocon_human_hard, videocon_llm
from .annotations import AnnotationReport, Annotations, Resolver, VideoRef, make_text_id
from .published import PublishedResult, published_results
from .readers import read_annotations
from .task import Expected, Task

# In the order of the paper's table.
TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (videocon_llm, videocon_human, videocon_human_hard, ssv2_temporal, ssv2_events, atp_hard)
}

__all__ = [
    "TASKS",
    "AnnotationReport",
    "Annotations",
    "Expected",
    "PublishedResult",
    "Resolver",
    "Task",
    "VideoRef",
    "get_task",
    "make_text_id",
    "published_results",
    "read_annotations",
]


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        SchemaError: there is none; the message lists all.
    """
    if name not in TASKS:
        raise SchemaError("there is no such task", found=repr(name), expected=f"one of {', '.join(TASKS)}")
    return TASKS[name]
