"""`Quarantine`: the videos that could not be read during a training, in a file of JSON lines that outlives the process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synvita_data.display import json_text
from synvita_data.errors import StoreError, VideoError

from .triplet import VIDEOS


class Quarantine:
    """Lines of one dataset in a file, which several processes and runs append to.

    Args:
        path: the file; it need not be there. dataset: whose lines these are.
    """

    def __init__(self, path: str | Path, dataset: str) -> None:
        self.path = Path(path)
        self.dataset = dataset
        self._seen = 0

    def unseen(self) -> Iterator[tuple[int, str, int]]:
        """(number of the row, its id, index in VIDEOS) of each line of this dataset since the last call.

        Raises:
            StoreError: the file is there and cannot be read.
        """
        try:
            with self.path.open("rb") as handle:
                handle.seek(self._seen)
                content = handle.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("read", error) from error
        content = content[: content.rfind(b"\n") + 1]  # another process may be writing the rest
        self._seen += len(content)
        for line in content.splitlines():
            try:
                record = json.loads(line)
                if record["dataset"] == self.dataset:
                    yield int(record["dataset_row"]), str(record["id"]), VIDEOS.index(record["video"])
            except (ValueError, TypeError, KeyError):
                continue  # cut off by a kill or a full disk: the video is found again, and its line written anew

    def add(self, row: int, row_id: str, kind: int, error: VideoError) -> None:
        """Append one line.

        Raises:
            StoreError: the file cannot be written.
        """
        record = {"dataset": self.dataset, "dataset_row": row, "id": row_id, "video": VIDEOS[kind]}
        _append(self, {**record, **error.to_record()})

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(
            f"the list of unreadable videos cannot be {verb}",
            file=self.path,
            found=str(error),
            fix="Mend the folder, or give quarantine= another file",
        )


def _append(quarantine: Quarantine, record: dict[str, Any]) -> None:
    """One line in one write, which processes may do at once."""
    path = quarantine.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            line = ("\n" if torn else "") + json_text(record) + "\n"
            os.write(handle, line.encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise quarantine._error("written", error) from error
