"""The benchmarks as data, and the paper's numbers of them. `synvita_data.annotations` reads their rows."""

from ..errors import SchemaError, choose
from .benchmarks import BENCHMARKS
from .published import PublishedResult, published_results
from .task import Expected, Task

TASKS: dict[str, Task] = {task.name: task for task in BENCHMARKS}

__all__ = ["TASKS", "Expected", "PublishedResult", "Task", "get_task", "published_results"]


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        SchemaError: there is none; the message lists all.
    """
    return TASKS[choose(name, TASKS, "task", error=SchemaError)]
