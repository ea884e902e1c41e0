"""Find the real videos of triplets among a user's files, by the naming schemes of their sources.

Real videos are not redistributed: rows name them, and whoever has the source datasets finds them
here. A file is taken only when its name says which video it is; when several files could be one
video, or a bare number could belong to any dataset, none is taken and the reason is noted.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ..errors import SchemaError, SourceError, SynvitaError
from ..files import folder_name
from ..schema import Triplet
from .files import MappedVideo, read_mapping, walk_videos
from .names import (
    KINETICS_NAMED,
    VIDEO_SUFFIXES,
    bare_path,
    flat_name,
    name_in_scheme,
    path_id,
    path_of_id,
    plain_path,
    times_in_name,
    video_stem,
)
from .parts import Part, choose_part, video_seconds

# A folder called like this (or with such a word in its name) holds videos of these sources.
_FOLDERS: Mapping[str, re.Pattern[str]] = {
    "msr-vtt": re.compile(r"msrvtt.*|(trainval|train|test)video"),
    "vatex": re.compile(r"vatex|k[467]00|kinetics([467]00)?"),
    "kinetics": re.compile(r"vatex|k[467]00|kinetics([467]00)?"),
    "tempo": re.compile(r"tempo(hl)?|didemo"),
    "activitynet": re.compile(r"activitynet|anet|annovideos"),
    "ssv2": re.compile(r"ssv2|(20bn)?somethingsomething(v2)?"),
    "next-qa": re.compile(r"nextqa|nextvideo|vidor"),
}
# Their videos are bare numbers, as are those of others: only a folder's name can tell them apart.
_NUMBERED = frozenset({"tempo", "activitynet", "ssv2", "next-qa"})
# Their videos are parts of YouTube videos, and their annotations do not say which.
_CUT = frozenset({"msr-vtt"})


@dataclass(frozen=True, slots=True)
class RealVideo:
    """A real video that was found.

    Attributes:
        path: absolute path of the file.
        reference: its path relative to the root, POSIX-style; what is not UTF-8 in it is escaped.
        times_apply: whether the row's `start` and `end` are still to be cut out of this file; False for
            a clip that is already cut (`<key>_<start>_<end>.mp4`), whose whole length is meant.
        start, end: the times that apply, where the file's name or the row says them.
    """

    path: Path
    reference: str
    times_apply: bool
    start: float | None = None
    end: float | None = None

    def seconds(self, start: float | None, end: float | None) -> tuple[float | None, float | None]:
        """Seconds to decode of this file for a row of these times; None, None for all of it."""
        if not self.times_apply:
            return None, None
        return (start, end) if (self.start, self.end) == (None, None) else (self.start, self.end)


# Why a video cannot be used: no file, several that could be it, one that ends before its row does, one without bytes.
Lack = Literal["missing", "ambiguous", "too_short", "empty"]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found of one video, or why nothing was.

    Attributes:
        video: the file; None where there is none to use.
        lack: why there is none; None where there is one.
        error: the lack in words, or what does not fit a file that was taken (its length); None where nothing is to say.
    """

    video: RealVideo | None
    lack: Lack | None = None
    error: SynvitaError | None = None


class RealVideos:
    """The video files under one folder, looked up by what a row says of its real video.

    The folder is read once. In this order, the first that gives a file decides:

    1. `mapping`, by `<source>_<video_id>` or by videopath.
    2. The videopath itself below `root`, with any suffix of a video.
    3. A file anywhere below `root` named by the video id (`video3094`, `<key>_<start>_<end>`), by
       `<source>_<video_id>` or, where the name is one of its source's own, by the flattened videopath
       (`tempo_videos_1524`). Where the id is a path with folders (see `names.path_id`), the
       file's path must end with all of it. A folder named after another source is passed over, and a bare
       number needs a folder named after its own (`tempo/`, `didemo/`, …).
    4. The whole YouTube video, `<youtube_key>`; not for MSR-VTT, whose clips are unknown parts of it,
       unless the row says which part.

    Args:
        root: folder of real videos; symlinks that leave it are not followed.
        source: the dataset that `root` is known to hold, as if it were named after it: folders below it
            that are named after no dataset are taken for its own.
        mapping: a mapping file or dictionary, see `files.read_mapping`.

    Where a row or a clip's name says seconds, the file's length is compared with them (`choose_part`).

    Attributes:
        problems: what kept a file from being used: symlinks out of the root, several files for one
            video, empty files, files that end before the row begins or ends.
        doubts: files that were taken although their length is not what their name promises.

    Raises:
        SourceError: `root` is not a folder. SchemaError, UnsafePathError: the mapping is not usable.
    """

    def __init__(
        self,
        root: str | Path,
        mapping: str | Path | Mapping[str, str] | None = None,
        *,
        source: str | None = None,
    ) -> None:
        self.root = Path(root).expanduser().resolve()
        if not self.root.is_dir():
            raise SourceError("the folder of real videos does not exist", file=root)
        self.problems: list[SynvitaError] = []
        self.doubts: list[SynvitaError] = []
        self._mapping = {} if mapping is None else read_mapping(mapping, self.root)
        names = (*self.root.parts[-2:], folder_name(self.root))
        self._root_sources = frozenset().union(*map(_sources_of, names))
        if source is not None:
            self._root_sources |= {source}
        self._folder_sources: dict[str, frozenset[str]] = {}
        self._reported: set[str] = set()
        self._met: tuple[Lack | None, SynvitaError] | None = None  # the last report of the look in hand
        self._seconds: dict[str, float | None] = {}
        self._exact: set[str] = set()

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """Stem -> relative paths."""
        files: dict[str, list[str]] = {}
        for relative in walk_videos(self.root, self.problems.append):
            files.setdefault(video_stem(relative), []).append(relative)
        return files

    @cached_property
    def identity(self) -> str:
        """Digest of what is looked through and how: equal for two looks at one folder with one mapping."""
        mapping = sorted((key, str(video.path), video.trimmed) for key, video in self._mapping.items())
        content = json.dumps([str(self.root), mapping, sorted(self._root_sources)])
        return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def __len__(self) -> int:
        """Number of video files under the root."""
        return sum(map(len, self._files.values()))

    def find_triplet(self, triplet: Triplet) -> RealVideo | None:
        """The real video of a triplet, None where it is not there."""
        return self.find(
            triplet.source,
            triplet.video_id,
            videopath=triplet.videopath,
            youtube_key=triplet.youtube_key,
            start=triplet.start,
            end=triplet.end,
        )

    def look(
        self,
        source: str,
        video_id: str,
        *,
        videopath: str | None = None,
        youtube_key: str | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> Looked:
        """`find`, with the reason where nothing is found, and the doubt where something does not fit."""
        self._met = None
        video = self.find(
            source, video_id, videopath=videopath, youtube_key=youtube_key, start=start, end=end
        )
        lack, error = self._met or (None, None)
        if video is not None:
            return Looked(video, error=error if lack is None else None)
        if lack is None:
            return Looked(None, "missing", self._passed_over(source, video_id, youtube_key))
        return Looked(None, lack, error)

    def _passed_over(self, source: str, video_id: str, youtube_key: str | None) -> SynvitaError | None:
        """Why files that bear the name of a missing video were not taken; None where there are none."""
        if files := self._files.get(video_id):
            problem = "a file of a missing video's name lies in a folder that is not called after its dataset"
            fix = f"Call a folder above it {source}, or give a mapping file"
        elif source in _CUT and youtube_key and (files := self._files.get(youtube_key)):
            problem = "the whole YouTube video of a missing clip is there, and the annotations do not say which part"
            fix = "Fetch the cut clip, or cut it and give it the clip's name"
        else:
            return None
        found = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
        return SourceError(problem, file=self.root, found=f"{found} for {source}_{video_id}", fix=fix)

    def find(
        self,
        source: str,
        video_id: str,
        *,
        videopath: str | None = None,
        youtube_key: str | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> RealVideo | None:
        """The file of one video, None where it is not there or cannot be told from others.

        Args:
            start, end: seconds in the source video, None where the caption is about all of it.
        """
        key = f"{source}_{video_id}"
        # The key first: two sources may use one path.
        mapped = (
            self._mapping.get(key)
            or self._mapping.get(f"{source}_{path_of_id(video_id)}")
            or self._mapping.get(videopath or key)
        )
        if mapped is not None:
            relative = mapped.path.relative_to(self.root).as_posix()
        else:
            # By its path, by its name, or as the whole YouTube video.
            clip = times_in_name(video_id) is not None and source in KINETICS_NAMED
            whole = youtube_key or (video_id[: -len("_000000_000000")] if clip else None)
            found = self._at_videopath(videopath, key) or self._named(source, video_id, videopath, key)
            timed = start is not None or end is not None
            if found is None and whole and (timed or source not in _CUT):
                found = self._choose(source, self._files.get(whole, []), videopath, key)
            if found is None:
                return None
            relative = found
        times = (start, end)
        if times == (None, None) and source in KINETICS_NAMED:  # elsewhere the numbers may be frames
            times = times_in_name(video_id) or times
        return self._usable(relative, mapped, video_id, youtube_key, key, times)

    def _at_videopath(self, videopath: str | None, key: str) -> str | None:
        if videopath is None:
            return None
        wanted = bare_path(videopath)
        same = [file for file in self._files.get(wanted.rpartition("/")[2], ()) if bare_path(file) == wanted]
        # With its own suffix it is this very file, whatever other formats lie beside it.
        return self._one_of([file for file in same if file == plain_path(videopath)] or same, key)

    def _named(self, source: str, video_id: str, videopath: str | None, key: str) -> str | None:
        stems = [video_id, key]
        if _is_own_name(source, video_id):
            if videopath is not None:
                stems.insert(1, flat_name(videopath))
        elif paths := _paths_behind(video_id, videopath):
            # Other folders may hold other videos of the same name; flattened, other paths look the same.
            for path in paths:
                if found := self._one_of(self._ending_with(path), key):
                    return found
            if (
                video_id == paths[0].rpartition("/")[2]
            ):  # a dataset of before: its ids are the last part alone
                stems = [path_id(paths[0]), f"{source}_{path_id(paths[0])}"]
        for stem in dict.fromkeys(stems):
            if found := self._choose(source, self._files.get(stem, []), videopath, key):
                return found
        return None

    def _ending_with(self, path: str) -> list[str]:
        """Files whose path, from the disk's root on, ends with all of `path`."""
        above = self.root.as_posix()
        files = self._files.get(path.rpartition("/")[2], ())
        return [file for file in files if f"/{bare_path(f'{above}/{file}')}".endswith(f"/{path}")]

    def _choose(self, source: str, files: list[str], videopath: str | None, key: str) -> str | None:
        """The one of `files` that is the video, by the folders they lie in."""
        if not files:
            return None
        own = [file for file in files if source in self._sources_above(file)]
        if not own and source not in _FOLDERS:
            own = [file for file in files if source in file.lower().split("/")[:-1]]
        if not own and (source in self._root_sources or not _is_number(source, files[0])):
            own = [file for file in files if not self._sources_above(file)]
        if len(own) > 1 and videopath is not None:
            ending = f"/{bare_path(videopath)}"
            own = [file for file in own if ("/" + bare_path(file)).endswith(ending)] or own
        return self._one_of(own, key)

    def _one_of(self, files: list[str], key: str) -> str | None:
        """The single file; among several formats of one name the first of VIDEO_SUFFIXES."""
        if len(files) > 1:
            files = list({os.path.realpath(self.root / file): file for file in files}.values())
        if len(files) > 1 and len({bare_path(file) for file in files}) == 1:
            order = [suffix for suffix in VIDEO_SUFFIXES for file in files if file.lower().endswith(suffix)]
            files = [file for file in files if file.lower().endswith(order[0])]
        if len(files) > 1:
            self._report(
                key,
                "ambiguous",
                SourceError(
                    "several files could be one real video, so none is taken",
                    file=self.root,
                    found=f"{', '.join(sorted(files))} for {key}",
                    fix="Name the folder that holds the right one, or give a mapping file",
                ),
            )
            return None
        return files[0] if files else None

    def _usable(
        self,
        relative: str,
        mapped: MappedVideo | None,
        video_id: str,
        youtube_key: str | None,
        key: str,
        times: tuple[float | None, float | None],
    ) -> RealVideo | None:
        path = self.root / relative
        try:
            size = path.stat().st_size
        except OSError:  # a mapping may list what was never downloaded
            return None
        if size == 0:
            self._report(key, "empty", SourceError("a real video is an empty file", file=path))
            return None
        applies = _times_apply(relative, mapped, video_id, youtube_key)
        reference = relative.encode("utf-8", "backslashreplace").decode()
        if times == (None, None):
            return RealVideo(path, reference, applies)
        stated = mapped is not None and mapped.trimmed is not None
        part = self._part(relative, times, cut=not applies, stated=stated)
        if part.doubt is not None:
            kind = "refused" if part.use == "none" else "doubted"
            self._report(
                f"{kind} {key}",
                "too_short" if part.use == "none" else None,
                SourceError(
                    "a real video cannot hold what its row is about"
                    if part.use == "none"
                    else "a real video is not as long as its name says",
                    file=path,
                    found=part.doubt,
                    expected="the cut clip, or the whole source video",
                    fix="Fetch it again, or say in a mapping file which file it is, and whether it is trimmed",
                ),
            )
        if part.use == "none":
            return None
        if part.use == "whole":
            return RealVideo(path, reference, times_apply=False)
        return RealVideo(path, reference, True, *times)

    def _part(
        self, relative: str, times: tuple[float | None, float | None], *, cut: bool, stated: bool
    ) -> Part:
        """Which part of a file is meant, by its name and its length."""
        by_name = Part("whole" if cut else "window")
        if relative not in self._seconds:
            self._seconds[relative] = video_seconds(self.root / relative)
        for _ in range(2):
            seconds = self._seconds[relative]
            if seconds is None:
                return by_name
            part = choose_part(seconds, *times, cut=cut, stated=stated)
            if part == by_name or relative in self._exact:
                break
            # Before the name is doubted, the container's word is: count the packets.
            self._exact.add(relative)
            self._seconds[relative] = video_seconds(self.root / relative, exact=True)
        return part

    def _sources_above(self, file: str) -> frozenset[str]:
        """Sources that the folders between the root and `file` are named after."""
        folder = file.rpartition("/")[0]
        if folder not in self._folder_sources:
            parts = folder.split("/")
            self._folder_sources[folder] = frozenset().union(*(_sources_of(part) for part in parts))
        return self._folder_sources[folder]

    def _report(self, key: str, lack: Lack | None, error: SourceError) -> None:
        """Note a problem, or a doubt where there is no `lack`, once for each key."""
        self._met = (lack, error)
        if key not in self._reported:
            self._reported.add(key)
            (self.doubts if lack is None else self.problems).append(error)


def _sources_of(folder: str) -> frozenset[str]:
    words = re.split(r"[^a-z0-9]+", folder.lower())
    names = {*words, "".join(words)}
    return frozenset(s for s, pattern in _FOLDERS.items() if any(map(pattern.fullmatch, names)))


def _is_own_name(source: str, video_id: str) -> bool:
    try:
        return name_in_scheme(source, video_id) is not None
    except SchemaError:
        return False


def _paths_behind(video_id: str, videopath: str | None) -> list[str]:
    """The paths with folders (without suffix) that the row gives, in its videopath and in its id."""
    path_or_url = re.sub(r"^(?:[a-z0-9]+:)?//", "", path_of_id(video_id))
    paths = [path_or_url] if videopath is None else [bare_path(videopath), path_or_url]
    return [path for path in dict.fromkeys(paths) if "/" in path]


def _is_number(source: str, file: str) -> bool:
    return source in _NUMBERED and video_stem(file).isdigit()


def _times_apply(relative: str, mapped: MappedVideo | None, video_id: str, youtube_key: str | None) -> bool:
    if mapped is not None and mapped.trimmed is not None:
        return not mapped.trimmed
    if times_in_name(video_id) is None:
        return True  # the annotation gives times in this very file (or gives none)
    # The id is that of a cut clip: any file but the whole YouTube video is the clip.
    return video_stem(relative) in (youtube_key, video_id[: -len("_000000_000000")])
