"""`hf:OWNER/NAME[@REVISION]` and `root:DIR`: synthetic videos as SynViTA's authors publish theirs.

How their repository is laid out is not known, so it is found by listing it: loose mp4 files in any folders, tar, zip
and Parquet. A video is known by its name, `<source>_<video id>_<NNN>.mp4`, and its generator by the nearest folder or
archive around it that names one. Which contrast caption a video shows is said by a training CSV (`syn_video`); without
one a name belongs to a pair only where the video has one contrast caption and one clip, and nothing is guessed.
"""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rich import filesize

from synvita_data.errors import SourceError, StoreError, SynvitaError, choose, first_line
from synvita_data.real_videos.names import flat_name, video_stem
from synvita_data.schema import Triplet
from synvita_data.synthetic_videos.archives import Archive, archive_kind
from synvita_data.synthetic_videos.find import member_file
from synvita_data.synthetic_videos.names import ClipName, generator_in, normal_generator, parse_clip_name
from synvita_data.synthetic_videos.reference import writable

from .places import Entry, FolderPlace, HubPlace, Place
from .registry import ORDERS, FoundVideos, Reading, SyntheticVideo

_FETCHED_AT_ONCE = 8


def open_source(scheme: str, argument: str, *, work: Path | None, reading: Reading) -> "ReleasedSource":
    """The source of a repository (`hf`) or a folder (`root`).

    Raises:
        SourceError: no name, or a folder that does not exist.
        HubError: the repository cannot be read.
    """
    if not argument:
        written = "hf:OWNER/NAME" if scheme == "hf" else "root:DIR"
        raise SourceError(f"{scheme}: needs a name", expected=written)
    if reading.order is not None:
        choose(reading.order, ORDERS, "order", error=SourceError)
    place: Place = HubPlace(argument) if scheme == "hf" else FolderPlace(Path(argument).expanduser())
    return ReleasedSource(place, reading, work)


@dataclass(frozen=True, slots=True)
class _Clip:
    """A file or member that may be a synthetic video; `generator` is None where no path names it."""

    entry: Entry
    archive: Archive | None
    member: str | None
    generator: str | None

    @property
    def shown(self) -> str:
        return self.entry.path if self.member is None else f"{self.entry.path}/{self.member}"

    @property
    def name(self) -> str:
        return PurePosixPath(self.shown.replace("\\", "/")).name

    @property
    def stem(self) -> str:
        return video_stem(self.name)


class ReleasedSource:
    """The authors' videos in one place.

    Args:
        place: a repository or a folder.
        reading: how they are read.
        work: folder where members of archives are put; None for a temporary one.
    """

    def __init__(self, place: Place, reading: Reading, work: Path | None = None) -> None:
        self.place, self.reading = place, reading
        self._temporary = tempfile.TemporaryDirectory(prefix="synvita-") if work is None else None
        self._work = Path(self._temporary.name) if self._temporary else work

    @property
    def generator(self) -> str:
        """Name recorded for videos that do not say which model made them."""
        return normal_generator(self.reading.generator) if self.reading.generator else self.place.parts[-1]

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The videos of `triplets`.

        Raises:
            SourceError: there are no videos, nothing says which generator made them, or they are of another one than
                the training CSV.
            HubError: something cannot be fetched.
        """
        found = FoundVideos()
        entries = self.place.entries(found.quarantined)
        self._announce(entries, found)
        clips = self._list(entries, found)
        by_csv = {triplet.syn_video for triplet in triplets if triplet.syn_video is not None}
        if by_csv and self.reading.order is not None:
            raise SourceError(
                "--order is for triplets that do not name their videos",
                found="a training CSV, whose syn_video names them",
                fix="Leave --order out",
            )
        clips = self._of_generator(clips, found, by_csv)
        match = self._match_csv if by_csv else self._match_names
        claims = match(clips, triplets, found)
        self._take(claims, found)
        return found

    # --- what is there -------------------------------------------------------------------------------

    def _announce(self, entries: Sequence[Entry], found: FoundVideos) -> None:
        """Note what the place holds and its licence, before anything is fetched."""
        layout = Counter(_layout(entry.path) for entry in entries)
        if not any(layout[kind] for kind in layout if kind != "other"):
            kinds = Counter(
                f"{path.suffix or 'nameless'} files in {path.parent}"
                for path in (PurePosixPath(entry.path) for entry in entries)
            )
            raise SourceError(
                "there are no videos and no archives of videos",
                file=self.place.name,
                found=_counts(kinds) or "nothing",
                expected="<source>_<video id>_<NNN>.mp4 in folders, .tar, .tar.gz, .zip or .parquet",
            )
        licence = self.place.licence()
        found.origin |= {**self.place.origin(), "licence": licence, "layout": dict(sorted(layout.items()))}
        if self.reading.on_note is not None:
            size = filesize.decimal(sum(entry.size for entry in entries if _layout(entry.path) != "other"))
            self.reading.on_note(
                f"{self.place.name}: {_counts(layout)}, {size} of videos; licence: {licence or 'none stated'}"
            )

    def _list(self, entries: Iterable[Entry], found: FoundVideos) -> list[_Clip]:
        """Files and members of archives that may be videos. An archive of another generator is not fetched."""
        clips: list[_Clip] = []
        wanted = self._wanted()
        skipped = 0
        for entry in entries:
            layout = _layout(entry.path)
            if layout == "other":
                continue
            if not writable(entry.path):
                found.quarantined.append(
                    SourceError(
                        "a path cannot be referred to",
                        file=f"{self.place.name}/{entry.path}",
                        expected="UTF-8, and no '::' in it",
                    )
                )
                continue
            parts = (*self.place.parts, *PurePosixPath(entry.path).parts)
            if layout == "mp4":
                clips.append(_Clip(entry, None, None, generator_in(parts[:-1])))
                continue
            of_archive = generator_in(parts)
            if wanted is not None and of_archive not in (None, wanted):
                skipped += 1
                continue
            archive = Archive.of(self.place.file(entry.path), f"{self.place.name}/{entry.path}")
            listing = archive.listing()
            found.quarantined += listing.problems
            for member in listing.videos:
                inside = PurePosixPath(member.replace("\\", "/")).parts[:-1]
                clips.append(_Clip(entry, archive, member, generator_in((*parts, *inside))))
        if skipped:
            found.origin["archives_of_other_generators"] = skipped
        return clips

    def _wanted(self) -> str | None:
        """The one generator whose videos are taken; None for all.

        Raises:
            SourceError: the training CSV is of another one than asked for.
        """
        asked, of_csv = self.reading.generator, self.reading.of_csv
        asked = None if asked is None else normal_generator(asked)
        if asked is not None and of_csv is not None and asked != of_csv:
            raise SourceError(
                "the training CSV is of another generator than --generator",
                found=f"a CSV of {of_csv}, --generator {asked}",
                expected="one generator: alignment_diff is of its videos",
                fix=f"Give the CSV of {asked}, or leave --generator out",
            )
        return asked or of_csv

    def _of_generator(self, clips: list[_Clip], found: FoundVideos, by_csv: Collection[str]) -> list[_Clip]:
        """The clips of the generator that is wanted, each with its generator.

        Files of other names than the authors' are unmatched, but for those that the training CSV names (`by_csv`).

        Raises:
            SourceError: nothing says who made a video, there are none of the wanted generator, or several where a
                training CSV is of one.
        """
        named = []
        for clip in clips:
            if clip.stem in by_csv or parse_clip_name(clip.name) is not None:
                named.append(clip)
            else:
                found.unmatched.append(clip.shown)
        wanted, asked = self._wanted(), self.reading.generator
        if asked is None and (unknown := [clip for clip in named if clip.generator is None]):
            folders = Counter(_folder(clip) for clip in unknown)
            raise SourceError(
                f"nothing says which generator made {len(unknown):,} of {len(named):,} videos",
                file=self.place.name,
                found=_counts(folders, "videos in "),
                expected="a folder or archive whose name holds cogvideo, lavie or videocrafter",
                fix="Name it with --generator",
            )
        named = [replace(clip, generator=clip.generator or wanted) for clip in named]
        counts = Counter(str(clip.generator) for clip in named)
        found.origin["generators"] = dict(sorted(counts.items()))
        if wanted is not None and named and not counts[wanted]:
            of_csv = self.reading.of_csv is not None and asked is None
            raise SourceError(
                "the training CSV is of another generator than the videos"
                if of_csv
                else "there are no videos of this generator",
                file=self.place.name,
                found=_counts(counts),
                expected=f"videos of {wanted}",
                fix="Give the CSV of these videos: alignment_diff is of one generator's" if of_csv else None,
            )
        if wanted is None and by_csv and len(counts) > 1:
            raise SourceError(
                "the training CSV does not say of which generator it is, and there are videos of several",
                file=self.place.name,
                found=_counts(counts),
                fix="Say whose videos its alignment_diff is of: --generator",
            )
        taken = [clip for clip in named if wanted in (None, clip.generator)]
        found.origin["of_other_generators"] = len(named) - len(taken)
        return taken

    # --- whose they are ------------------------------------------------------------------------------

    def _match_csv(
        self, clips: Iterable[_Clip], triplets: Sequence[Triplet], found: FoundVideos
    ) -> dict[tuple[str, str], list[_Clip]]:
        by_name: dict[str, dict[str, None]] = {}
        for triplet in triplets:
            if triplet.syn_video is not None:
                by_name.setdefault(triplet.syn_video, {})[triplet.pair_id] = None
        claims: dict[tuple[str, str], list[_Clip]] = {}
        for clip in clips:
            if not (pairs := by_name.get(clip.stem)):
                found.unmatched.append(clip.shown)
            for pair in pairs or ():
                claims.setdefault((pair, str(clip.generator)), []).append(clip)
        return claims

    def _match_names(
        self, clips: Iterable[_Clip], triplets: Sequence[Triplet], found: FoundVideos
    ) -> dict[tuple[str, str], list[_Clip]]:
        # Real video -> its contrast captions in the order of the file -> the pairs of each.
        captions: dict[str, dict[str, dict[str, None]]] = {}
        flattened: dict[str, set[str]] = {}
        for triplet in triplets:
            if triplet.videopath is not None:
                flattened.setdefault(flat_name(triplet.videopath), set()).add(triplet.video_key)
            of_video = captions.setdefault(triplet.video_key, {})
            of_video.setdefault(triplet.neg_caption, {})[triplet.pair_id] = None
        by_video: dict[tuple[str, str], list[tuple[_Clip, ClipName]]] = {}
        for clip in clips:
            if (name := parse_clip_name(clip.name)) is not None:
                key = f"{name.source}_{name.video_id}"
                # As the path of the real video has it, perhaps: `tempo_videos_1524_001`.
                if key not in captions and len(known := flattened.get(clip.stem[:-4], set())) == 1:
                    (key,) = known
                by_video.setdefault((key, str(clip.generator)), []).append((clip, name))
        claims: dict[tuple[str, str], list[_Clip]] = {}
        for (key, generator), named in by_video.items():
            pairs = list(captions.get(key, {}).values())
            # Where there is one caption and one clip, and it is the first, the two belong together.
            alone = len(pairs) == 1 and {name.number for _, name in named} == {1}
            for clip, name in named:
                if self.reading.order is None and pairs and not alone:
                    found.ambiguous.append(clip.shown)
                elif name.number > len(pairs):
                    found.unmatched.append(clip.shown)
                else:
                    for pair in pairs[name.number - 1]:
                        claims.setdefault((pair, generator), []).append(clip)
        found.ambiguous.sort()
        return claims

    # --- their files ---------------------------------------------------------------------------------

    def _take(self, claims: dict[tuple[str, str], list[_Clip]], found: FoundVideos) -> None:
        """Put the clips of each pair into `found`, with a file or a reference. Of rivals none is taken."""
        refused: set[str] = set()
        taken: dict[tuple[str, str], _Clip] = {}
        for key, rivals in claims.items():
            if len(rivals) == 1:
                taken[key] = rivals[0]
                continue
            for clip in rivals:
                if clip.shown not in refused:
                    refused.add(clip.shown)
                    found.quarantined.append(
                        SourceError(
                            "several files claim to be the same video of one generator",
                            file=f"{self.place.name}/{clip.shown}",
                            found=", ".join(each.shown for each in rivals[:3]),
                            fix="Fetch one of them, and give its folder as --synthetic-root",
                        )
                    )
        files = self._files({clip.shown: clip for clip in taken.values()}, found)
        for (pair, generator), clip in sorted(taken.items()):
            if clip.shown in files:
                file, here = files[clip.shown]
                kind = None if clip.archive is None else clip.archive.kind
                reference = str(self.place.reference(clip.entry.path, kind, clip.member))
                sha256 = clip.entry.sha256 if clip.archive is None else None
                video = SyntheticVideo(file, 1, generator, sha256=sha256, reference=reference, here=here)
                found.videos.setdefault(pair, []).append(video)
        found.origin["not_opened"] = sum(not here for _, here in files.values())

    def _files(self, clips: dict[str, _Clip], found: FoundVideos) -> dict[str, tuple[Path, bool]]:
        """For each clip its file and whether it is on this machine; a member that cannot be read has none."""
        files: dict[str, tuple[Path, bool]] = {}
        archives: dict[str, dict[str, _Clip]] = {}
        loose: list[_Clip] = []
        remote = isinstance(self.place, HubPlace)
        for shown, clip in clips.items():
            if clip.archive is not None:
                archives.setdefault(clip.entry.path, {})[shown] = clip
            elif remote and not self.reading.fetch and clip.entry.sha256 is not None and clip.entry.size:
                files[shown] = Path(str(self.place.reference(clip.entry.path))), False
            else:
                loose.append(clip)
        with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
            for clip, path in zip(
                loose, pool.map(lambda clip: self.place.file(clip.entry.path), loose), strict=True
            ):
                files[clip.shown] = path, True
        for members in archives.values():
            files |= self._extracted(members, found)
        return files

    def _extracted(self, clips: dict[str, _Clip], found: FoundVideos) -> dict[str, tuple[Path, bool]]:
        """Members of one archive as files of the work folder; those of an earlier run are not read again."""
        first = next(iter(clips.values()))
        archive, version = first.archive, json.dumps(self.place.version(first.entry))
        assert archive is not None
        assert self._work is not None
        folder = self._work / hashlib.sha256(version.encode()).hexdigest()[:16]
        targets = {str(clip.member): member_file(folder, str(clip.member)) for clip in clips.values()}
        missing = {member: path for member, path in targets.items() if not path.is_file()}
        bad: set[str] = set()

        def refuse(member: str, error: SynvitaError) -> None:
            bad.add(member)
            found.quarantined.append(error)

        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            needed = sum(map(archive.size, missing))
            if needed > (free := shutil.disk_usage(folder).free):
                raise _full(folder, f"{free:,} bytes free", f"{needed:,} for {first.entry.path}")
            try:
                archive.extract(missing, refuse)
            except OSError as error:
                raise _full(folder, first_line(error), None) from error
        return {
            shown: (targets[str(clip.member)], True)
            for shown, clip in clips.items()
            if clip.member not in bad
        }


def _layout(path: str) -> str:
    if path.lower().endswith(".mp4"):
        return "other" if PurePosixPath(path).name.startswith(".") else "mp4"
    return archive_kind(path) or "other"


def _folder(clip: _Clip) -> str:
    return clip.shown.rpartition("/")[0] or "the top folder"


def _counts(counts: "Counter[str]", of: str = "") -> str:
    """`12 videos in a, 3 videos in b`: the most common first."""
    shown = [f"{count:,} {of}{name}" for name, count in counts.most_common(8)]
    return ", ".join(shown) + (", …" if len(counts) > 8 else "")


def _full(folder: Path, found: str, expected: str | None) -> StoreError:
    return StoreError(
        "videos of an archive cannot be written",
        file=folder,
        found=found,
        expected=expected,
        fix="Free space and run it again: it continues where it stopped",
    )
