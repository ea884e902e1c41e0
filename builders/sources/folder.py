"""`folder:DIR`: synthetic videos made before, found by their names or through a manifest.

A name belongs to the triplets of a pair id, a row id, or `<source>_<video_id>`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from synvita_data.errors import SourceError, SynvitaError
from synvita_data.files import folder_name, resolve_under
from synvita_data.real_videos.files import walk_videos
from synvita_data.real_videos.names import flat_name, path_of_id
from synvita_data.schema import Triplet, make_pair_id, make_row_id

from .manifest import NAME, ManifestRow, read_manifest
from .registry import FoundVideos, SyntheticVideo

# Pair id, generator, sample: what one video is, and no other may be.
_Slot = tuple[str, str, int]
_ROW_ID = re.compile(r"(?P<name>.+_[0-9a-f]{10})-(?P<generator>.+)-(?P<sample>\d{3,})")
_SAMPLE = re.compile(r"(?P<name>.+)_(?P<sample>\d{3,})")


@dataclass(frozen=True, slots=True)
class Match:
    """The triplets that a synthetic video belongs to (one, or several with one contrast caption).

    `generator` and `sample` are None where the name does not say.
    """

    triplets: tuple[Triplet, ...]
    generator: str | None = None
    sample: int | None = None


class TripletIndex:
    """Looks triplets up by the names that files and manifests use for them."""

    def __init__(self, triplets: Iterable[Triplet]) -> None:
        self._by_pair: dict[str, Triplet] = {}
        self._by_video: dict[str, list[str]] = {}
        self._by_old_pair: dict[str, list[str]] = {}
        for triplet in triplets:
            pair_id = triplet.pair_id
            if pair_id in self._by_pair:
                continue
            self._by_pair[pair_id] = triplet
            path = path_of_id(triplet.video_id)
            names = {triplet.video_key, re.sub(r"[^\w.-]+", "_", triplet.video_key)}
            names.add(f"{triplet.source}_{flat_name(path)}")
            if triplet.videopath is not None:
                names.add(flat_name(triplet.videopath))
            for name in names:
                self._by_video.setdefault(name, []).append(pair_id)
            if "/" in path:
                # Videos that were made when the last part of a path was its id: their names hold a digest of
                # the captions, so that whichever pair they are of has the contrast caption they show.
                last = path.rpartition("/")[2]
                old = make_pair_id(triplet.source, last, triplet.caption, triplet.neg_caption)
                self._by_old_pair.setdefault(old, []).append(pair_id)

    def match_stem(self, stem: str) -> Match | None:
        """The match of a file called `<source>_<video_id>_<NNN>`, `<pair_id>_<NNN>` or by its row id.

        Raises:
            SourceError: the name belongs to several contrast captions, or its sample is 0.
        """
        match = self._match_row_id(stem)
        if match is None and (named := _SAMPLE.fullmatch(stem)):
            match = self._match_name(named["name"], int(named["sample"]))
        return _checked(match)

    def match_id(self, name: str) -> Match | None:
        """The match of an `id` in a manifest: a row id, a pair id or `<source>_<video_id>`.

        Raises:
            SourceError: the id belongs to several contrast captions, or its sample is 0.
        """
        return _checked(self._match_row_id(name) or self._match_name(name, None))

    def _match_row_id(self, name: str) -> Match | None:
        row = _ROW_ID.fullmatch(name)
        pairs = self._pairs(row["name"]) if row is not None else ()
        if row is None or not pairs:
            return None
        return Match(pairs, row["generator"], int(row["sample"]))

    def _pairs(self, name: str) -> tuple[Triplet, ...]:
        pair_ids = [name] if name in self._by_pair else self._by_old_pair.get(name, ())
        return tuple(self._by_pair[pair_id] for pair_id in pair_ids)

    def _match_name(self, name: str, sample: int | None) -> Match | None:
        if pairs := self._pairs(name):
            return Match(pairs, None, sample)
        triplets = tuple(self._by_pair[pair] for pair in self._by_video.get(name, ()))
        if not triplets:
            return None
        captions = {triplet.neg_caption for triplet in triplets}
        if len(captions) > 1:
            # A synthetic video is made from one contrast caption, and nothing here says which. Any
            # choice would train on a wrong text, so none is made.
            raise SourceError(
                f"the name fits {len(captions)} contrast captions of one video",
                found=f"{name}, of the pairs {', '.join(triplet.pair_id for triplet in triplets)}",
                expected="a name that tells them apart",
                fix="Name the file <pair_id>_<NNN>.mp4, or list it in a manifest.jsonl by pair id",
            )
        return Match(triplets, None, sample)


def _checked(match: Match | None) -> Match | None:
    if match is not None and match.sample == 0:
        raise SourceError("samples count from 1", found="sample 000", fix="Rename the files from 001")
    return match


def open_source(argument: str, *, generator: str | None, work: Path | None) -> "FolderSource":
    """The source `folder:DIR`; `generator` defaults to the name of DIR. `work` is not used."""
    if not argument:
        raise SourceError("folder: needs a folder", expected="folder:DIR")
    root = Path(argument).expanduser()
    if not root.is_dir():
        raise SourceError("the folder of synthetic videos does not exist", file=root, expected="folder:DIR")
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
        self.generator = generator or folder_name(root.resolve())

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
        if (self.root / NAME).is_file():
            self._match_manifest(files, index, found)
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
                found.quarantined.append(error.at(self.root / file))
                continue
            if match is None:
                found.unmatched.append(file)
                continue
            for slot in self._slots(match):
                claims.setdefault(slot, []).append(file)
        # Of several files that claim to be one video none is taken, and each is refused once.
        refused: set[str] = set()
        for (pair_id, generator, sample), rivals in claims.items():
            if len(rivals) == 1:
                video = SyntheticVideo(self.root / rivals[0], sample, generator)
                found.videos.setdefault(pair_id, []).append(video)
                continue
            for file in rivals:
                if file not in refused:
                    refused.add(file)
                    found.quarantined.append(
                        SourceError(
                            "several files claim to be the same sample of one pair",
                            file=self.root / file,
                            found=f"{', '.join(rivals)} for sample {sample} of {pair_id}",
                            fix="Keep one, or give each generator's folder on its own",
                        )
                    )

    def _match_manifest(self, files: list[str], index: TripletIndex, found: FoundVideos) -> None:
        manifest = self.root / NAME
        claims = _Claims({}, {})
        listed: set[Path] = set()
        for line in read_manifest(manifest, found.quarantined.append):
            try:
                path = resolve_under(self.root, line.path)
                listed.add(path.resolve())
                self._add(line, path, index, claims, found)
            except SynvitaError as error:
                found.quarantined.append(error.at(manifest, line.row))
        root = self.root.resolve()
        found.unmatched += [file for file in files if (root / file).resolve() not in listed]

    def _add(
        self, line: ManifestRow, path: Path, index: TripletIndex, claims: "_Claims", found: FoundVideos
    ) -> None:
        """Add the video of a line to `found`, or raise what is wrong with the line."""
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
        named = re.search(r"[_-](\d{3,})$", PurePosixPath(line.path).stem)
        sample = line.sample or match.sample or int(named[1] if named else 1) or 1
        match = Match(match.triplets, line.video.generator or match.generator, sample)
        neg_caption = match.triplets[0].neg_caption
        other_caption, other_row = claims.captions.setdefault(path, (neg_caption, line.row))
        if other_caption != neg_caption:
            raise SourceError(f"row {other_row} gives this file to another contrast caption", found=line.path)
        for slot in self._slots(match):
            # By what ids hold of a generator's name: two that look alike there would be one row.
            first = claims.ids.setdefault(make_row_id(*slot), line.row)
            if first != line.row:
                raise SourceError(
                    f"row {first} already lists this sample of the pair",
                    found=f"generator {slot[1]}, sample {slot[2]} of {slot[0]}",
                    fix="Number the samples of a pair from 1",
                )
            video = replace(line.video, path=path, generator=slot[1], sample=slot[2])
            found.videos.setdefault(slot[0], []).append(video)

    def _slots(self, match: Match) -> list[_Slot]:
        generator, sample = match.generator or self.generator, match.sample or 1
        return [(triplet.pair_id, generator, sample) for triplet in match.triplets]


@dataclass(frozen=True, slots=True)
class _Claims:
    """What the rows of a manifest have claimed so far; a row number stands for who came first."""

    captions: dict[Path, tuple[str, int]]  # file -> contrast caption, row
    ids: dict[str, int]  # row id -> row


def _is_mp4(file: str) -> bool:
    return file.lower().endswith(".mp4")
