"""The benchmarks, as data: one YAML file a task in `declarations/`, or a user's own.

To add a benchmark of a form that exists, add its declaration. `synvita_data.annotations` reads the rows.
"""

from .catalogue import TASKS, get_task, task_of_file, task_of_result, task_setting
from .declaration import read_declaration
from .forms import FORMS
from .published import COLUMNS, MODELS, SOURCE, PublishedResult, published_results
from .task import CheckedFile, Expected, Task

__all__ = [
    "COLUMNS",
    "FORMS",
    "MODELS",
    "SOURCE",
    "TASKS",
    "CheckedFile",
    "Expected",
    "PublishedResult",
    "Task",
    "get_task",
    "published_results",
    "read_declaration",
    "task_of_file",
    "task_of_result",
    "task_setting",
]
