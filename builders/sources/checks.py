"""Check every video before a shard is planned: once per file and for ever, because the store remembers.

The check reads a file whole (its SHA-256, and whether it is a video that decodes), so that a corrupt
video costs its row and nothing else, and the writer knows which bytes it must find again.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from synvita_data.errors import SynvitaError, VideoError, of_type
from synvita_data.files import sha256_file
from synvita_data.jobs import Claim, Record, Store, complete, work_key
from synvita_data.video.rules import STREAM_RULE, takes_other_stream

from .registry import SyntheticVideo

# Raise it when the check changes its mind about files it has already seen.
CHECK_VERSION = 2


def check_videos(
    paths: Iterable[Path],
    store: Store,
    *,
    threads: int = 1,
    on_checked: Callable[[int], None] | None = None,
) -> dict[Path, str | SynvitaError]:
    """SHA-256 of each video's bytes, or why it cannot be used.

    A file that was checked before and has the same size and modification time is not read again.

    Args:
        paths: files that exist; duplicates are checked once.
        store: remembers what was found.
        threads: how many check at once.
        on_checked: called with how many more are checked.
    """
    keys: dict[str, list[Path]] = {}  # several paths where symlinks lead to one file
    results: dict[Path, str | SynvitaError] = {}
    for path in dict.fromkeys(paths):
        try:
            status = path.stat()
        except OSError as error:
            results[path] = VideoError("a video cannot be read", file=path, found=error.strerror)
            continue
        key = work_key(
            file=str(path.resolve()),
            size=status.st_size,
            modified=status.st_mtime_ns,
            version=CHECK_VERSION,
        )
        keys.setdefault(key, []).append(path)

    def check(claim: Claim) -> None:
        from synvita_data.video import check_video  # PyAV: only where there are videos

        path = keys[claim.key][0]
        try:
            info = check_video(path)
            if path.suffix.lower() == ".mp4" and "mp4" not in info.container.split(","):
                raise VideoError(
                    "a video is not in the format its name says",
                    file=path,
                    found=f"{info.container} with {info.codec}",
                    expected="mp4",
                    fix="Name it rightly, or convert it",
                )
            outcome: dict[str, Any] = {"sha256": sha256_file(path), "frames": info.frames}
        except VideoError as error:  # the file's own fault: it will not get better by trying again
            outcome = {"error": error.to_record()}
        claim.commit({**outcome, "stream_rule": STREAM_RULE})

    complete(store, keys, check, threads=threads, on_done=on_checked)
    records = {key: store.validate(key) for key in keys}
    # Where an older version looked at another video stream than the one that is shown, the check is made again.
    again = {
        work_key(check=key, stream=STREAM_RULE): key
        for key, record in records.items()
        if "stream_rule" not in record.fields and takes_other_stream(keys[key][0])
    }
    keys |= {new: keys[old] for new, old in again.items()}
    complete(store, again, check, threads=threads)
    records |= {old: store.validate(new) for new, old in again.items()}
    for key, record in records.items():
        for path in keys[key]:
            results[path] = _outcome(record, path)
    return results


def _outcome(record: Record, path: Path) -> str | SynvitaError:
    with record.expecting("the sha256 of a video, or its error"):
        if "sha256" in record.fields:
            return str(of_type(record.fields["sha256"], str))
        return VideoError.from_record(of_type(record.fields["error"], dict), file=path)  # under its name now


def agreed(video: SyntheticVideo, state: str | SynvitaError) -> str | SynvitaError:
    """The checked SHA-256 of a video, unless its maker noted another one.

    Args:
        video: as its source gave it.
        state: what `check_videos` found.
    """
    if isinstance(state, str) and video.sha256 is not None and video.sha256 != state:
        return VideoError(
            "a video is not the one its manifest describes",
            file=video.path,
            found=f"sha256 {state}",
            expected=f"sha256 {video.sha256}",
            fix="Generate it again, or mend the manifest",
        )
    return state
