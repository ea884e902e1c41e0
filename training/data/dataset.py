"""`TripletData`: a dataset of triplets as a map-style torch `Dataset` of `TrainingTriplet`, and what is unreadable in it."""

import operator
import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from synvita_data.display import get_logger, json_text
from synvita_data.errors import OTHER_FORM, StoreError, SynvitaError, VideoError
from synvita_data.files import parse_json
from synvita_data.models import AlignmentModel, EncodedVideo, Explanation, PreparedVideo
from synvita_data.models.features import FeatureCache
from synvita_data.models.videos import VideoPreparer
from synvita_data.video import FramePolicy, FramePolicyError, MissingBackendError

from . import VIDEOS, TrainingTriplet
from .rows import VideoColumn, describe
from .selection import RowSelection, SelectedRow, check_share
from .text_check import TextCheck
from .videos import DistinctVideo, UnreadableVideo, distinct_videos, probe_videos

logger = get_logger(__name__)

_FEW = 8  # unreadable videos that are never too many
_LONGEST_WALK = 32  # rows without any readable video in a row


class TripletData(Dataset[TrainingTriplet]):
    """Triplets of a dataset, decoded and prepared when asked for; for `DataLoader` workers by fork or spawn.

    All rows are checked when it is made, and no video is opened. The model is not kept: workers get its processor
    and configuration (`VideoPreparer`). docs/training-data.md says which arguments the paper used.

    A video that cannot be read during training is set aside: a warning says why, `counts` counts it, and the
    triplet trains with what is left of it. Where nothing is left, the next triplet that can be read takes its
    place, so that no batch is smaller than it should be and no process waits for another. `check_videos` finds most of
    them before training.

    Args:
        rows: one split of `load_triplets`, or a sequence of rows with the published columns.
        model: whose family, processor and prompt; or a `VideoPreparer`, which has frames and a cache of its own.
        weighting: None for the dataset's column `weight`; a name in `weights.WEIGHTINGS` to compute it from the scores.
        granularity: None for the dataset's column `shared`; `word`, `token` or `released` to compute the masks,
            the last two with the model's tokenizer.
        masked_text: `hide` (attention does not see what is not shared) or `remove` (only shared words are text).
        use_synthetic: False for VideoCon's baseline; synthetic videos, weights and scores are not looked at.
        use_scr: False where L_scr is not trained: no masks are needed, the masked texts hide nothing.
        nle_share: share in [0, 1] of the pairs with an explanation that train it.
        seed: of that choice, which depends on nothing else but the pair's id.
        misalignments: kinds of contrast that are trained, of `schema.MISALIGNMENTS`; rows of other kinds, and of an
            unknown one, are left out and counted. None for all rows.
        only: which rows are trained on, by their columns (`data.only`); the others are left out and counted. None for
            all rows.
        frames: which frames; None for the model family's own.
        max_unreadable: largest share of unreadable videos; more (and more than 8) is an error, for then something
            else is wrong than a few files.
        cache: features of videos (`feature_cache_of`, `fill_feature_cache`).
        quarantine: JSON Lines file that gets a line for each unreadable video: row, id, video and reason. What it says
            of this dataset already, from before a restart or from other processes, counts too: towards `counts` and
            towards the limit of `max_unreadable`.
        name: of the dataset, for messages.

    Attributes:
        arguments: `weighting` to `only` as given, for comparison.
        preparer: what decodes and prepares its videos.

    Raises:
        SynvitaError: an argument or the dataset is wrong; the message says where, what was found and what to do.
    """

    def __init__(
        self,
        rows: Any,
        model: AlignmentModel | VideoPreparer,
        *,
        weighting: str | None = None,
        granularity: str | None = None,
        masked_text: str = "hide",
        use_synthetic: bool = True,
        use_scr: bool = True,
        nle_share: float = 1.0,
        seed: int = 0,
        misalignments: Collection[str] | None = None,
        only: Mapping[str, Any] | str | None = None,
        frames: FramePolicy | None = None,
        max_unreadable: float = 0.05,
        cache: FeatureCache | None = None,
        quarantine: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        check_share("max_unreadable", max_unreadable)
        self.preparer = VideoPreparer.of(model, frames=frames, cache=cache)
        self.name = name or describe(rows)
        self.max_unreadable = max_unreadable
        self.arguments: dict[str, Any] = {
            "weighting": weighting,
            "granularity": granularity,
            "masked_text": masked_text,
            "use_synthetic": use_synthetic,
            "use_scr": use_scr,
            "nle_share": nle_share,
            "seed": seed,
            "misalignments": misalignments,
            "only": only,
        }
        self._selection = RowSelection(rows, self.preparer.family.tokenizer, self.name, **self.arguments)
        self.arguments["misalignments"] = self._selection.misalignments
        self.arguments["only"] = self._selection.only
        self._rows, self._counts = self._selection.select()
        if not self._counts["takes_real"]:
            logger.warning(
                "%s: no row has its real video here, so L_real trains nothing; load_triplets(…, real_root=DIR) finds "
                "them, until another format (with_format) takes its place",
                self.name,
            )
        check = TextCheck(self.preparer, self.name)
        check.captions([(text.caption, row.number) for row in self._rows for text in row.texts])
        explained = [row for row in self._rows if row.explanation]
        check.explanations(
            [(Explanation(row.texts[1].caption, str(row.explanation)), row.number) for row in explained]
        )
        if warning := check.released([text for row in self._rows for text in row.texts[2:]]):
            logger.warning("%s: %s", self.name, warning)
        kinds = VIDEOS if use_synthetic else VIDEOS[:1]
        self._videos = {kind: VideoColumn(rows, f"{kind}_video") for kind in kinds}
        self._quarantine = None if quarantine is None else Quarantine(quarantine, self.name)
        # Shared with the workers: for each row of the dataset, bit k for an unreadable video k of VIDEOS, and
        # bit 2 where another triplet took its place.
        self._marks = torch.zeros(self._selection.total, dtype=torch.uint8).share_memory_()
        self._recall()

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<TripletData: {len(self):,} triplets of {self.name}>"

    def __getitem__(self, index: int) -> TrainingTriplet:
        """A triplet with at least one video.

        Raises:
            IndexError: the index is out of range.
            VideoError: more videos are unreadable than `max_unreadable` allows.
        """
        first = range(len(self))[operator.index(index)]
        for step in range(min(len(self), _LONGEST_WALK)):
            row = self._rows[(first + step) % len(self)]
            triplet = self._read(row)
            if triplet is not None:
                return triplet
            self._marks[row.number] |= 4
        raise self._unreadable_error("no video of many triplets one after the other can be read")

    def check_videos(
        self,
        *,
        workers: int = 2,
        decode_all: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[UnreadableVideo]:
        """Look into every video that would be trained on, and set aside those that cannot be read, as if they
        were not there: another row of a pair may take its L_real, a row that trains nothing any more goes.

        Call it before a loader is made, for the length may change. Some ten milliseconds a video and thread.

        Args:
            workers: threads.
            decode_all: decode every frame, which finds damage inside packets too.
            on_progress: called with videos done and in all.

        Returns:
            The unreadable videos, with rows and reasons; `counts` has them as `set_aside_…`.

        Raises:
            SchemaError: nothing is left to train on.
        """
        found: list[UnreadableVideo] = []
        bad: dict[str, set[int]] = {kind: set() for kind in VIDEOS}
        looked_at: set[tuple[str, int]] = set()
        while True:  # a pair whose first row lost its real video may turn to another file
            videos = [
                video
                for video in self.distinct_videos()
                if not looked_at.issuperset((video.kind, row) for row in video.rows)
            ]
            looked_at.update((video.kind, row) for video in videos for row in video.rows)
            new = probe_videos(videos, workers=workers, decode_all=decode_all, on_progress=on_progress)
            if not new:
                return found
            found += new
            for each in new:
                bad[each.kind].update(each.rows)
                self._marks[list(each.rows)] &= ~(1 << VIDEOS.index(each.kind) | 4) & 0xFF
                logger.warning("rows %s, %s video set aside: %s", list(each.rows), each.kind, each.error)
            self._rows, self._counts = self._selection.select(bad["real"], bad["synthetic"])

    def check_same(self, model: AlignmentModel, arguments: Mapping[str, Any]) -> None:
        """Complain where this data was made with other arguments, frames or wording than are trained with.

        Arguments that make no difference are not compared: the seed of a choice among all, masks where there are none.

        Args:
            model: that is trained.
            arguments: of `TripletData`, as `SynViTAConfig.data_arguments` gives them.

        Raises:
            SynvitaError: they differ; the message says how.
        """
        preparer = VideoPreparer.of(model, frames=arguments["frames"])
        idle = set()
        if not arguments["use_synthetic"]:
            idle |= {"weighting"}
        if not (arguments["use_synthetic"] and arguments["use_scr"]):
            idle |= {"granularity", "masked_text"}
        if arguments["nle_share"] in (0.0, 1.0):
            idle |= {"seed"}
        pairs = {name: (own, arguments[name]) for name, own in self.arguments.items() if name not in idle}
        pairs["max_unreadable"] = (self.max_unreadable, arguments["max_unreadable"])
        pairs |= {
            name: (read(self.preparer), read(preparer))
            for name, read in (
                ("frames", lambda own: own.frames),
                ("prompt", lambda own: own.prompt.name),
                ("placeholder_space", lambda own: own.family.placeholder_space),
                ("preprocess", lambda own: own.family.preprocess),
            )
        }
        if differing := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            raise SynvitaError(
                "the training data was made with other options than those of the trainer",
                found=", ".join(f"{name} {there!r}" for name, (there, _) in differing.items()),
                expected=", ".join(f"{name} {here!r}" for name, (_, here) in differing.items()),
                fix="Give the trainer the rows: it makes its own TripletData",
            )

    def too_many(self, unreadable: int, videos: int) -> bool:
        """Whether more of the videos are unreadable than `max_unreadable` allows; a few are never too many."""
        return unreadable > max(_FEW, self.max_unreadable * videos)

    def distinct_videos(self) -> list[DistinctVideo]:
        """Every video that is trained on, each file once."""
        return distinct_videos(self._rows, self._videos)

    @property
    def triplets(self) -> list[SelectedRow]:
        """What each index trains, without videos."""
        return self._rows

    @property
    def counts(self) -> dict[str, int]:
        """Plain numbers for logs and model cards; the last three grow during training (of this process and its
        workers; each row counts once)."""
        return {
            **self._counts,
            "unreadable_real": int((self._marks & 1).bool().sum()),
            "unreadable_synthetic": int((self._marks & 2).bool().sum()),
            "replaced": int((self._marks & 4).bool().sum()),
        }

    def _read(self, row: SelectedRow) -> TrainingTriplet | None:
        real = self._video(row, 0) if row.real else None
        synthetic = self._video(row, 1) if row.synthetic else None
        takes_real = row.takes_real and real is not None
        if synthetic is None and not takes_real:
            return None
        return TrainingTriplet(
            row_id=row.row_id,
            pair_id=row.pair_id,
            texts=row.texts,
            real=real,
            synthetic=synthetic,
            weight=row.weight if synthetic is not None else 0.0,
            takes_real=takes_real,
            explanation=row.explanation if takes_real else None,
            zero_weight=row.zero_weight,
        )

    def _video(self, row: SelectedRow, kind: int) -> PreparedVideo | EncodedVideo | None:
        times = (row.start, row.end) if VIDEOS[kind] == "real" else (None, None)
        try:
            return self.preparer.read(self._videos[VIDEOS[kind]][row.number], *times)
        except (MissingBackendError, FramePolicyError):
            raise  # the machine's fault or the user's, not the video's
        except VideoError as error:
            self._set_aside(row, kind, error)
            return None

    def _set_aside(self, row: SelectedRow, kind: int, error: VideoError) -> None:
        bit = 1 << kind
        if not self._marks[row.number] & bit:
            self._recall()  # other processes may have met it
            known = bool(self._marks[row.number] & bit)
            self._marks[row.number] |= bit
            logger.warning("row %d, %s video set aside: %s", row.number, VIDEOS[kind], error)
            if self._quarantine is not None and not known:
                self._quarantine.add(row.number, row.row_id, kind, error)
        unreadable = int((self._marks & 1).bool().sum() + (self._marks & 2).bool().sum())
        videos = self._counts["videos"]
        if self.too_many(unreadable, videos):
            raise self._unreadable_error(f"{unreadable:,} of {videos:,} videos cannot be read") from error

    def _recall(self) -> None:
        """Mark what the quarantine file says of videos that are trained on; a row by another id is another row."""
        if self._quarantine is None:
            return
        for number, row_id, kind in self._quarantine.unseen():
            at = bisect_left(self._rows, number, key=operator.attrgetter("number"))
            row = self._rows[at] if at < len(self._rows) else None
            if row is None or (row.number, row.row_id) != (number, row_id):
                continue
            if (row.real, row.synthetic)[kind]:
                self._marks[number] |= 1 << kind
                mark = int(self._marks[number])
                trains = (row.takes_real and not mark & 1) or (row.synthetic and not mark & 2)
                self._marks[number] |= 0 if trains else 4

    def _unreadable_error(self, problem: str) -> VideoError:
        return VideoError(
            problem,
            file=self.name,
            expected=f"at most {self.max_unreadable:.0%} of them",
            fix="See the warnings before: a folder may have gone away; check_videos() names each one"
            + (f". When they are back, remove {self._quarantine.path}" if self._quarantine else ""),
        )


class PackedCollator:
    """A batch for `SynViTATrainer`: the triplets as they are; the model packs each video's texts.

    Example: the loader's list `[triplet, triplet]` becomes

        {"triplets": [triplet, triplet]}

    Videos may differ in length and size, so nothing is stacked or padded here. Workers send tensors through shared
    memory; pinning and moving to a device leave the triplets alone, the model moves what it needs.

    Raises:
        SynvitaError: something else than triplets.
    """

    def __call__(self, triplets: Sequence[TrainingTriplet]) -> dict[str, list[TrainingTriplet]]:
        for triplet in triplets:
            if not isinstance(triplet, TrainingTriplet):
                raise SynvitaError(
                    "a batch holds something else than triplets",
                    found=type(triplet).__name__,
                    expected="TrainingTriplet",
                    fix="Give the trainer a TripletData of your dataset",
                )
        return {"triplets": list(triplets)}


class Quarantine:
    """Lines of one dataset in a file, which several processes and runs append to.

    Args:
        path: the file; it need not be there.
        dataset: whose lines these are.
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
        for record in _records(content):
            if record.get("dataset") == self.dataset and "id" in record:
                yield int(record["dataset_row"]), str(record["id"]), VIDEOS.index(record["video"])

    def add(self, row: int, row_id: str, kind: int, error: VideoError) -> None:
        """Append one line.

        Raises:
            StoreError: the file cannot be written.
        """
        record = {"dataset": self.dataset, "dataset_row": row, "id": row_id, "video": VIDEOS[kind]}
        text = json_text({**record, **error.to_record()}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                # In one write, which processes may do at once.
                os.write(handle, (("\n" if torn else "") + text).encode())
            finally:
                os.close(handle)
        except OSError as failure:
            raise self._error("written", failure) from failure

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(
            f"the list of unreadable videos cannot be {verb}",
            file=self.path,
            found=str(error),
            fix="Mend the folder, or give quarantine= another file",
        )


def _records(content: bytes | str) -> Iterator[dict[str, Any]]:
    """The lines of a quarantine file that name a video. A line that was cut off by a kill or a full disk names none:
    the video is found again, and its line written again."""
    for line in content.splitlines():
        try:
            record = parse_json(line)
            record["dataset_row"] = int(record["dataset_row"])
            if record["video"] in VIDEOS:
                yield record
        except OTHER_FORM:
            continue


Unreadable = set[tuple[int, str]]  # (row of the dataset, which of VIDEOS)


def counts_of_run(
    counts: Mapping[str, int], triplets: Sequence[SelectedRow], quarantine: Path
) -> dict[str, int]:
    """The counts with those that grow during training taken over all processes: each row counts once, however many
    processes met it. All processes come here together.

    Args:
        counts: `TripletData.counts` of this process.
        triplets: `TripletData.triplets`.
        quarantine: to which each process and worker added a line for each video it could not read.
    """
    from accelerate.utils import gather_object

    found: Unreadable = set().union(*gather_object([read_quarantine(quarantine)]))
    growing = ("unreadable_real", "unreadable_synthetic", "replaced")
    # This process's own count stands where its lines could not be written.
    larger = zip(growing, unreadable_among(triplets, found), strict=True)
    return {**counts, **{name: max(counts[name], value) for name, value in larger}}


def read_quarantine(path: Path) -> Unreadable:
    """The videos that a quarantine file names."""
    if not path.is_file():
        return set()
    text = path.read_text(encoding="utf-8", errors="replace")
    return {(record["dataset_row"], record["video"]) for record in _records(text)}


def unreadable_among(triplets: Iterable[SelectedRow], found: Unreadable) -> tuple[int, int, int]:
    """Real videos that are trained on and unreadable, such synthetic videos, and triplets left with nothing."""
    real = synthetic = replaced = 0
    for triplet in triplets:
        bad_real = triplet.real and (triplet.number, VIDEOS[0]) in found
        bad_synthetic = triplet.synthetic and (triplet.number, VIDEOS[1]) in found
        real += bad_real
        synthetic += bad_synthetic
        left = (triplet.takes_real and not bad_real) or (triplet.synthetic and not bad_synthetic)
        replaced += (bad_real or bad_synthetic) and not left
    return real, synthetic, replaced
