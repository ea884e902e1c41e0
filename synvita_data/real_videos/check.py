"""Which real videos a benchmark, a file of triplets or a dataset needs, and which of them are here and sound.

    needed = read_annotations("ssv2-temporal", "eval_ssv2_temporal.csv").needed_videos("ssv2")
    check = check_real_videos(needed, "/data/videos", decode="first")
    print(check)  # 214 of 216 real videos found; ssv2: 1 missing, 1 unreadable
    write_missing(check, Path("missing.csv"))

Videos are looked for by the same `RealVideos` that evaluating, building and training use, so that what is found here is
found there.
"""

import csv
import io
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import SourceError, SynvitaError, VideoError
from ..files import write_atomic
from ..schema import Triplet
from .find import RealVideo, RealVideos
from .parts import choose_part

Decode = Literal["none", "first", "all"]
Status = Literal["found", "missing", "ambiguous", "too_short", "unreadable"]
STATUSES: tuple[Status, ...] = get_args(Status)
# How many videos of a status `to_record` names.
EXAMPLES = 5
MISSING_COLUMNS = ("source", "video_id", "url", "start", "end", "status", "videopath")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededVideo:
    """A real video that somebody needs, as annotations or triplets name it.

    Attributes:
        source: dataset of the video.
        video_id: its id there.
        videopath: how the annotations name it, None where they give an id or an address only.
        youtube_key: YouTube id of the source video, None where unknown.
        video_url: its address, None where unknown.
        start: second of the source video at which the needed part begins, None for all of it.
        end: second at which it ends.
        root_source: the dataset that the user's folder is taken to hold, as if it were named after it: the
            source of a task with one source. None: folders are judged by their names alone.
    """

    source: str
    video_id: str
    videopath: str | None = None
    youtube_key: str | None = None
    video_url: str | None = None
    start: float | None = None
    end: float | None = None
    root_source: str | None = None

    @property
    def key(self) -> tuple[str, str, float | None, float | None]:
        """What makes two needed videos one: source, id and part."""
        return self.source, self.video_id, self.start, self.end

    @property
    def url(self) -> str | None:
        """Its address: the one that is given, else YouTube's of its key; None where neither is known."""
        if self.video_url is None and self.youtube_key is not None:
            return f"https://www.youtube.com/watch?v={self.youtube_key}"
        return self.video_url


def needed_by_triplets(triplets: Iterable[Triplet]) -> list[NeededVideo]:
    """The real videos of triplets, each once, in their order."""
    return each_once(
        NeededVideo(
            source=triplet.source,
            video_id=triplet.video_id,
            videopath=triplet.videopath,
            youtube_key=triplet.youtube_key,
            video_url=triplet.video_url,
            start=triplet.start,
            end=triplet.end,
        )
        for triplet in triplets
    )


def each_once(videos: Iterable[NeededVideo]) -> list[NeededVideo]:
    """The first of those that are one video (`NeededVideo.key`), in their order."""
    first: dict[tuple[object, ...], NeededVideo] = {}
    for video in videos:
        first.setdefault(video.key, video)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class CheckedVideo:
    """A needed video and what was found of it.

    Attributes:
        needed: the video.
        status: `found` (there is one file, and nothing is known against it), `missing`, `ambiguous` (several
            files could be it), `too_short` (its file ends before the part that is needed) or `unreadable`
            (empty, not to be opened, or damaged).
        file: the file that would be decoded; None where there is none.
        error: what is wrong; of a found video the doubt (its length is not what its name promises); None
            where there is nothing to say.
    """

    needed: NeededVideo
    status: Status
    file: RealVideo | None = None
    error: SynvitaError | None = None


@dataclass(frozen=True)
class VideoCheck:
    """What `check_real_videos` found.

    Attributes:
        root: the folder that was looked through.
        files: video files below it.
        decode: how far files were read.
        videos: one for each needed video, in the order in which they were first asked for.
        problems: of the folder itself: symlinks that leave it, folders that cannot be read.
    """

    root: Path
    files: int
    decode: Decode
    videos: tuple[CheckedVideo, ...]
    problems: tuple[SynvitaError, ...] = ()

    @property
    def needed(self) -> int:
        """How many videos are needed; a video of which several parts are needed counts once for each."""
        return len(self.videos)

    @property
    def found(self) -> int:
        """How many of them can be used."""
        return sum(video.status == "found" for video in self.videos)

    @property
    def complete(self) -> bool:
        """Whether all are there and nothing is known against any of them."""
        return self.found == self.needed

    @cached_property
    def sources(self) -> dict[str, tuple[CheckedVideo, ...]]:
        """Source -> its videos, by the name of the source."""
        grouped: dict[str, list[CheckedVideo]] = {}
        for video in self.videos:
            grouped.setdefault(video.needed.source, []).append(video)
        return {source: tuple(grouped[source]) for source in sorted(grouped)}

    def __str__(self) -> str:
        lacks = []
        for source, videos in self.sources.items():
            counts = count_statuses(videos)
            parts = [f"{counts[s]:,} {s.replace('_', ' ')}" for s in STATUSES[1:] if counts[s]]
            lacks += [f"{source}: {', '.join(parts)}"] if parts else []
        return "; ".join([f"{self.found:,} of {self.needed:,} real videos found", *lacks])

    def to_record(self) -> dict[str, Any]:
        """JSON-ready form: counts by source, and up to `EXAMPLES` videos of each status with the reason."""
        sources: dict[str, dict[str, Any]] = {}
        for source, videos in self.sources.items():
            bad = [video for video in videos if video.status != "found"]
            doubted = [video for video in videos if video.status == "found" and video.error]
            sources[source] = {
                "needed": len(videos),
                **{str(status): count for status, count in count_statuses(videos).items()},
                "other_length": len(doubted),
                "examples": {
                    name: [_example(video) for video in those[:EXAMPLES]]
                    for name, those in (
                        *((status, [v for v in bad if v.status == status]) for status in STATUSES[1:]),
                        ("other_length", doubted),
                    )
                    if those
                },
            }
        return {
            "root": str(self.root),
            "files": self.files,
            "decode": self.decode,
            "needed": self.needed,
            "found": self.found,
            "complete": self.complete,
            "sources": sources,
            "problems": [error.to_record() for error in self.problems],
        }


def count_statuses(videos: Iterable[CheckedVideo]) -> dict[Status, int]:
    """How many videos have each status, all of `STATUSES` in their order."""
    counts = Counter(video.status for video in videos)
    return {status: counts[status] for status in STATUSES}


def _example(video: CheckedVideo) -> dict[str, Any]:
    facts = {"video_id": video.needed.video_id, "start": video.needed.start, "end": video.needed.end}
    facts |= {"file": video.file.reference if video.file else None, "url": video.needed.url}
    record = {name: value for name, value in facts.items() if value is not None}
    return record | ({"error": video.error.to_record()} if video.error else {})


def check_real_videos(
    needed: Iterable[NeededVideo],
    root: str | Path,
    mapping: str | Path | Mapping[str, str] | None = None,
    *,
    decode: Decode = "none",
    workers: int = 4,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> VideoCheck:
    """Look for every needed video under `root`; with `decode`, read what was found.

    For `synvita videos check`, and for who wants to say "videos found k of n" before a run
    (`synvita doctor`): with `decode="none"` files are not decoded, and only of those whose name or row
    says seconds is the length asked for, which their headers tell in a millisecond or two.

    Args:
        needed: of `Annotations.needed_videos`, `needed_by_triplets`, `BuiltDataset.needed_videos`; equal ones
            (`NeededVideo.key`) are checked once.
        root: folder of real videos.
        mapping: see `files.read_mapping`.
        decode: `none`; `first`: read all packets and decode the first frame (`check_video`); `all`: decode
            every frame. A file is read once, however many videos it is.
        workers: threads that read.
        on_progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SourceError: `root` is not a folder. SchemaError, UnsafePathError: the mapping is not usable.
    """
    progress = on_progress or (lambda title, done, total: None)
    distinct = each_once(needed)

    # A folder is looked through once for each dataset that it is taken to hold.
    folders: dict[str | None, RealVideos] = {}
    problems: dict[str, SynvitaError] = {}
    for source in list(dict.fromkeys(video.root_source for video in distinct)) or [None]:
        folders[source] = RealVideos(root, mapping, source=source)
        count = len(folders[source])
        problems |= {str(error): error for error in folders[source].problems}  # of the walk: no look yet

    checked: list[CheckedVideo] = []
    for done, video in enumerate(distinct, 1):
        checked.append(_looked_up(video, folders[video.root_source]))
        progress("look for videos", done, len(distinct))

    if decode != "none":
        # Links to one file are one file.
        files = {_real(video): video.file.path for video in checked if video.status == "found" and video.file}
        read = dict(_read_files(files, decode == "all", workers, progress))
        checked = [_with_contents(video, read) for video in checked]
    root_folder = next(iter(folders.values())).root
    return VideoCheck(root_folder, count, decode, tuple(checked), tuple(problems.values()))


def _real(video: CheckedVideo) -> str:
    return "" if video.file is None else os.path.realpath(video.file.path)


def _looked_up(video: NeededVideo, videos: RealVideos) -> CheckedVideo:
    looked = videos.look(
        video.source,
        video.video_id,
        videopath=video.videopath,
        youtube_key=video.youtube_key,
        start=video.start,
        end=video.end,
    )
    if looked.lack is not None:
        status: Status = "unreadable" if looked.lack == "empty" else looked.lack
        return CheckedVideo(video, status, error=looked.error)
    assert looked.video is not None
    if not os.access(looked.video.path, os.R_OK):
        error = SourceError(
            "a real video may not be read", file=looked.video.path, fix="Give yourself the right to read it"
        )
        return CheckedVideo(video, "unreadable", looked.video, error)
    return CheckedVideo(video, "found", looked.video, looked.error)


def _read_files(
    files: Mapping[str, Path], decode_all: bool, workers: int, progress: Callable[[str, int, int], None]
) -> Iterator[tuple[str, float | VideoError]]:
    """Each file, by its key, with its seconds as a player's clock counts, or why it cannot be used."""
    from ..video import check_video

    def read(path: Path) -> float | VideoError:
        try:
            info = check_video(path, decode_all=decode_all)
        except VideoError as error:
            return error
        return info.first_shown + info.duration

    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[str, Future[float | VideoError]]] = deque()
    try:
        upcoming = iter(files.items())
        for done in range(len(files)):
            # A few ahead of the one in hand: who interrupts waits for those alone.
            while len(waiting) < 2 * workers and (following := next(upcoming, None)) is not None:
                waiting.append((following[0], pool.submit(read, following[1])))
            key, future = waiting.popleft()
            yield key, future.result()
            progress("read videos", done + 1, len(files))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _with_contents(video: CheckedVideo, read: Mapping[str, float | VideoError]) -> CheckedVideo:
    """A video with what reading its file told."""
    if video.status != "found" or video.file is None:
        return video
    result = read[_real(video)]
    if isinstance(result, VideoError):
        return replace(video, status="unreadable", error=result)
    # The header's length was believed before; now the packets are counted.
    start, end = video.file.seconds(video.needed.start, video.needed.end)
    part = choose_part(result, start, end, cut=False, stated=True)
    if (start, end) != (None, None) and part.use == "none":
        error = SourceError(
            "a real video cannot hold what its row is about",
            file=video.file.path,
            found=part.doubt,
            expected="the cut clip, or the whole source video",
            fix="Fetch it again, or say in a mapping file which file it is, and whether it is trimmed",
        )
        return replace(video, status="too_short", error=error)
    return video


def write_missing(check: VideoCheck, path: Path) -> int:
    """Write a CSV of the videos that are not usable, for a downloader; returns how many.

    Columns: `MISSING_COLUMNS`. `url` is the address that the annotations give, or YouTube's of the key they give;
    `start` and `end` are seconds of the source video. What is not known is empty.
    """
    bad = [video for video in check.videos if video.status != "found"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MISSING_COLUMNS)
    for video in bad:
        needed = video.needed
        times = ("" if seconds is None else f"{seconds:g}" for seconds in (needed.start, needed.end))
        writer.writerow(
            [needed.source, needed.video_id, needed.url or "", *times, video.status, needed.videopath or ""]
        )
    write_atomic(path, text.getvalue())
    return len(bad)
