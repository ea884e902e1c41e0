"""`folder:DIR`: synthetic videos made before, found by their names or through a manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from synvita_data.errors import SourceError, SynvitaError
from synvita_data.files import resolve_under
from synvita_data.real_videos.files import walk_videos
from synvita_data.schema import Triplet, make_row_id

from .manifest import NAME, ManifestRow, read_manifest
from .matching import Match, TripletIndex, sample_in
from .source import FoundVideos, SyntheticVideo

# Pair id, generator, sample: what one video is, and no other may be.
_Slot = tuple[str, str, int]


def open_source(argument: str, *, generator: str | None, work: Path | None) -> "FolderSource":
    """The source `folder:DIR`; `generator` defaults to the name of DIR. `work` is not used."""
    if not argument:
        raise SourceError("folder: needs a folder", expected="folder:DIR")
    root = Path(argument).expanduser()
    if not root.is_dir():
        raise SourceError("no such folder of synthetic videos", file=root, expected="folder:DIR")
    return FolderSource(root, generator)


class FolderSource:
    """The mp4 files below a folder.

    With a `manifest.jsonl` in the folder, its rows say which file belongs to which pair, and files it
    does not list are unmatched. Without one the names do, in any subfolder:
    `<source>_<video_id>_<NNN>.mp4` (`NNN` is the sample, from 001), `<pair_id>_<NNN>.mp4`, or a row id
    `<pair_id>-<generator>-<NNN>.mp4`. A name that fits several contrast captions of one video, or a
    video that several files claim to be, is quarantined: which text a video shows is never guessed.
    """

    def __init__(self, root: Path, generator: str | None = None) -> None:
        self.root = root
        self.generator = generator or root.resolve().name

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The videos of `triplets`. File names are compared exactly: YouTube ids differ by case.

        Raises:
            SourceError: the folder holds no mp4 at all, or its manifest cannot be read.
        """
        found = FoundVideos()
        files = list(walk_videos(self.root, found.quarantined.append))
        if not any(_is_mp4(file) for file in files) and not found.quarantined:
            raise SourceError(
                "the folder holds no mp4 files",
                file=self.root,
                found=f"{len(files)} videos in other formats" if files else None,
                expected=f"<source>_<video_id>_<NNN>.mp4, or files listed in {NAME}",
            )
        index = TripletIndex(triplets)
        manifest = self.root / NAME
        if manifest.is_file():
            self._follow(manifest, files, index, found)
        else:
            self._match_names(files, index, found)
        for videos in found.videos.values():
            videos.sort(key=lambda video: (video.generator or "", video.sample))
        return found

    def _match_names(self, files: list[str], index: TripletIndex, found: FoundVideos) -> None:
        claims: dict[_Slot, list[str]] = {}
        for file in files:
            try:
                match = index.match_stem(PurePosixPath(file).stem) if _is_mp4(file) else None
            except SourceError as error:
                found.quarantined.append(_located(error, self.root / file))
                continue
            if match is None:
                found.unmatched.append(file)
                continue
            for slot in self._slots(match):
                claims.setdefault(slot, []).append(file)
        refused: set[str] = set()
        for (pair_id, generator, sample), rivals in claims.items():
            if len(rivals) == 1:
                video = SyntheticVideo(self.root / rivals[0], sample, generator)
                found.videos.setdefault(pair_id, []).append(video)
                continue
            for file in rivals:
                if file not in refused:
                    refused.add(file)
                    found.quarantined.append(_rivals(self.root / file, rivals, pair_id, sample))

    def _follow(self, manifest: Path, files: list[str], index: TripletIndex, found: FoundVideos) -> None:
        ledger = _Ledger()
        for line in read_manifest(manifest):
            try:
                if isinstance(line, SourceError):
                    raise line
                self._take(line, index, ledger, found)
            except SynvitaError as error:
                row = error.row if isinstance(line, SourceError) else line.row
                found.quarantined.append(_located(error, manifest, row))
        root = self.root.resolve()
        found.unmatched += [file for file in files if (root / file).resolve() not in ledger.listed]

    def _take(self, line: ManifestRow, index: TripletIndex, ledger: "_Ledger", found: FoundVideos) -> None:
        path = resolve_under(self.root, line.path)
        ledger.listed.add(path)
        if not path.is_file():
            raise SourceError("the manifest lists a file that is not there", found=line.path)
        if not _is_mp4(line.path):
            raise SourceError("the manifest lists a file that is not an mp4", found=line.path)
        match = index.match_id(line.id)
        if match is None:
            raise SourceError(
                "the manifest lists a video of no triplet",
                found=f"id {line.id}",
                expected="a pair id, a row id or <source>_<video_id> of the triplets file",
            )
        sample = line.sample or match.sample or sample_in(PurePosixPath(line.path).stem) or 1
        match = Match(match.triplets, line.generator or match.generator, sample)
        neg_caption = match.triplets[0].neg_caption
        other_caption, other_row = ledger.made_from.setdefault(path, (neg_caption, line.row))
        if other_caption != neg_caption:
            raise SourceError(f"row {other_row} gives this file to another contrast caption", found=line.path)
        for slot in self._slots(match):
            # By what ids hold of a generator's name: two that look alike there would be one row.
            first = ledger.claims.setdefault(make_row_id(*slot), line.row)
            if first != line.row:
                raise SourceError(
                    f"row {first} already lists this sample of the pair",
                    found=f"generator {slot[1]}, sample {slot[2]} of {slot[0]}",
                    fix="Number the samples of a pair from 1",
                )
            found.videos.setdefault(slot[0], []).append(
                SyntheticVideo(
                    path, slot[2], slot[1], line.revision, line.seed, line.config, line.sha256, line.prompt
                )
            )

    def _slots(self, match: Match) -> list[_Slot]:
        generator, sample = match.generator or self.generator, match.sample or 1
        return [(triplet.pair_id, generator, sample) for triplet in match.triplets]


@dataclass
class _Ledger:
    """What the rows of a manifest have claimed so far; a row number stands for who came first."""

    listed: set[Path] = field(default_factory=set)
    made_from: dict[Path, tuple[str, int]] = field(default_factory=dict)  # file -> contrast caption, row
    claims: dict[str, int] = field(default_factory=dict)  # row id -> row


def _is_mp4(file: str) -> bool:
    return file.lower().endswith(".mp4")


def _located(error: SynvitaError, file: Path, row: int | str | None = None) -> SynvitaError:
    error.file, error.row = str(file), row
    error.args = (str(error),)
    return error


def _rivals(file: Path, rivals: list[str], pair_id: str, sample: int) -> SourceError:
    return SourceError(
        "several files claim to be the same sample of one pair",
        file=file,
        found=f"{', '.join(rivals)} for sample {sample} of {pair_id}",
        fix="Keep one, or give each generator's folder on its own",
    )
