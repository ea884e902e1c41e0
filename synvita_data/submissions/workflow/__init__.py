"""The workflow that verifies the pull requests of a results repository, as a file to commit."""

from importlib.resources import files
from pathlib import Path

from ... import __version__
from ...errors import SourceError
from ...files import write_atomic
from ...hub.repo import REPO_ID

_NAME = "verify-results.yml"


def workflow_text(results: str, annotations: str) -> str:
    """The workflow for two repositories of the Hub.

    Args:
        results: that results are submitted to, OWNER/NAME.
        annotations: that holds the annotations, OWNER/NAME; it may be private.

    Raises:
        SourceError: one of them is no name of a repository.
    """
    for what, name in (("results", results), ("annotations", annotations)):
        if REPO_ID.fullmatch(name) is None:
            raise SourceError(
                f"the {what} are in no repository of the Hub", found=name, expected="OWNER/NAME"
            )
    text = (files(__package__) / _NAME).read_text(encoding="utf-8")
    for place, value in (
        ("RESULTS_REPO", results),
        ("ANNOTATIONS_REPO", annotations),
        ("SYNVITA_VERSION", __version__),
    ):
        text = text.replace(place, value)
    return text


def write_workflow(folder: Path, results: str, annotations: str) -> Path:
    """Write `.github/workflows/verify-results.yml` below a folder; returns its path."""
    path = folder / ".github" / "workflows" / _NAME
    write_atomic(path, workflow_text(results, annotations))
    return path
