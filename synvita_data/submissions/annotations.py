"""The annotations that results are recomputed with: files on this machine, or of a repository of the Hub."""

from pathlib import Path, PurePosixPath

from ..errors import SourceError
from ..hub.repo import REPO_ID, HubRepo
from ..tasks import TASKS

MOST_BYTES = 2 << 30


def find_annotations(place: str | None) -> Path | None:
    """Where annotations lie; those of a Hub repository are fetched into the cache.

    Args:
        place: an annotation file, a folder that holds those of all tasks, or the id of a dataset repository with them.

    Raises:
        SourceError: it is neither, or the repository holds none.
        HubError: the Hub refuses, or is away.
    """
    if place is None:
        return None
    path = Path(place).expanduser()
    if path.exists():
        return path
    if not REPO_ID.fullmatch(place):
        raise SourceError(
            "there are no annotations",
            file=place,
            expected="an annotation file, a folder of them, or a dataset repository OWNER/NAME",
        )
    repo = HubRepo(place)
    snapshot = repo.snapshot("main")
    wanted = [name for name in snapshot.files if _is_annotations(PurePosixPath(name))]
    size = sum(snapshot.files[name].size for name in wanted)
    if not wanted or size > MOST_BYTES:
        raise SourceError(
            "the repository holds no annotations"
            if not wanted
            else "the repository's annotations are too large",
            file=place,
            found=f"{len(snapshot.files):,} files" if not wanted else f"{size:,} bytes",
            expected="files named as docs/tasks.md says, at its root, or <task>/*.parquet",
        )
    fetched = [
        (name, repo.fetch(name, snapshot.commit, what="an annotation file", instead="give a folder"))
        for name in wanted
    ]
    name, first = fetched[0]
    return first.parents[len(PurePosixPath(name).parts) - 1]


def _is_annotations(name: PurePosixPath) -> bool:
    if len(name.parts) == 1:
        return any(name.name in task.files for task in TASKS.values()) or name.name == "map_vid_vidorID.json"
    return len(name.parts) == 2 and name.parts[0] in TASKS and name.suffix == ".parquet"
