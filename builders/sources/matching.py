"""Which triplets a name belongs to: a pair id, a row id, or `<source>_<video_id>`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from synvita_data.errors import SourceError
from synvita_data.real_videos.names import flat_name, path_of_id
from synvita_data.schema import Triplet, make_pair_id

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


def sample_in(stem: str) -> int | None:
    """The `NNN` a file's name ends with, None where there is none."""
    found = re.search(r"[_-](\d{3,})$", stem)
    return int(found[1]) if found else None


def _checked(match: Match | None) -> Match | None:
    if match is not None and match.sample == 0:
        raise SourceError("samples count from 1", found="sample 000", fix="Rename the files from 001")
    return match
