"""`TripletData`: a dataset of triplets as a map-style torch `Dataset` of `TrainingTriplet`."""

import operator
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from synvita_data.display import get_logger
from synvita_data.errors import SynvitaError, VideoError
from synvita_data.models import AlignmentModel, EncodedVideo, Explanation, PreparedVideo
from synvita_data.models.features import FeatureCache
from synvita_data.video import FramePolicyError, MissingBackendError

from .distinct_videos import DistinctVideo, UnreadableVideo, distinct_videos, probe_videos
from .plan import DataOptions, PlannedTriplet, TrainingRows
from .quarantine import Quarantine
from .rows import VideoColumn, describe
from .text_check import TextCheck
from .triplet import VIDEOS, TrainingTriplet
from .videos import VideoPreparer

logger = get_logger(__name__)

_FEW = 8  # unreadable videos that are never too many
_LONGEST_WALK = 32  # rows without any readable video in a row


class TripletData(Dataset[TrainingTriplet]):
    """Triplets of a dataset, decoded and prepared when asked for; for `DataLoader` workers by fork or spawn.

    All rows are checked when it is made, and no video is opened. The model is not kept: workers get its processor
    and configuration (`VideoPreparer`).

    A video that cannot be read during training is set aside: a warning says why, `counts` counts it, and the
    triplet trains with what is left of it. Where nothing is left, the next triplet that can be read takes its
    place, so that no batch is smaller than it should be and no process waits for another. `check_videos` finds most of
    them before training.

    Args:
        rows: one split of `load_triplets`, or a sequence of rows with the published columns.
        model: whose family, processor and prompt; or a `VideoPreparer`, which then says the frames and the cache.
        options: what is trained.
        cache: features of videos (`feature_cache_of`, `fill_feature_cache`).
        quarantine: JSON Lines file that gets a line for each unreadable video: row, id, video and reason. What it says
            of this dataset already, from before a restart or from other processes, counts too: towards `counts` and
            towards the limit of `max_unreadable`.
        name: of the dataset, for messages.

    Raises:
        SynvitaError: whatever is wrong with the dataset; the message says where, what was found and what to do.
    """

    def __init__(
        self,
        rows: Any,
        model: AlignmentModel | VideoPreparer,
        options: DataOptions | None = None,
        *,
        cache: FeatureCache | None = None,
        quarantine: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        self.options = options or DataOptions()
        if isinstance(model, AlignmentModel):
            model = VideoPreparer.of(model, frames=self.options.frames, cache=cache)
        elif cache is not None or self.options.frames not in (None, model.frames):
            raise SynvitaError("a VideoPreparer says frames and cache by itself", fix="Give it both")
        self.preparer = model
        self.name = name or describe(rows)
        self._rows = TrainingRows(rows, self.options, model.family.tokenizer, self.name)
        self._triplets, self._counts = self._rows.plan()
        if not self._counts["takes_real"]:
            logger.warning(
                "%s: no row has its real video here, so L_real trains nothing; load_triplets(…, real_root=DIR) finds "
                "them, until another format (with_format) takes its place",
                self.name,
            )
        check = TextCheck(model, self.name)
        check.captions([(text.caption, t.number) for t in self._triplets for text in t.texts])
        check.explanations(
            [
                (Explanation(t.texts[1].caption, t.explanation), t.number)
                for t in self._triplets
                if t.explanation
            ]
        )
        if warning := check.released([text for t in self._triplets for text in t.texts[2:]]):
            logger.warning("%s: %s", self.name, warning)
        kinds = VIDEOS if self.options.use_synthetic else VIDEOS[:1]
        self._videos = {kind: VideoColumn(rows, f"{kind}_video") for kind in kinds}
        self._quarantine = None if quarantine is None else Quarantine(quarantine, self.name)
        # Shared with the workers: for each row of the dataset, bit k for an unreadable video k of VIDEOS, and
        # bit 2 where another triplet took its place.
        self._marks = torch.zeros(self._rows.total, dtype=torch.uint8).share_memory_()
        self._recall()

    def __len__(self) -> int:
        return len(self._triplets)

    def __getitem__(self, index: int) -> TrainingTriplet:
        """A triplet with at least one video.

        Raises:
            IndexError: no such triplet. VideoError: more videos are unreadable than options allow.
        """
        first = range(len(self))[operator.index(index)]
        for step in range(min(len(self), _LONGEST_WALK)):
            planned = self._triplets[(first + step) % len(self)]
            triplet = self._read(planned)
            if triplet is not None:
                return triplet
            self._marks[planned.number] |= 4
        raise self._too_many("no video of many triplets one after the other can be read")

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
            workers: threads. decode_all: decode every frame, which finds damage inside packets too.
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
            self._triplets, self._counts = self._rows.plan(bad["real"], bad["synthetic"])

    def distinct_videos(self) -> list[DistinctVideo]:
        """Every video that is trained on, each file once."""
        return distinct_videos(self._triplets, self._videos)

    @property
    def triplets(self) -> list[PlannedTriplet]:
        """What each index trains, without videos."""
        return self._triplets

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

    def _read(self, planned: PlannedTriplet) -> TrainingTriplet | None:
        real = self._video(planned, 0) if planned.real else None
        synthetic = self._video(planned, 1) if planned.synthetic else None
        takes_real = planned.takes_real and real is not None
        if synthetic is None and not takes_real:
            return None
        return TrainingTriplet(
            row_id=planned.row_id,
            pair_id=planned.pair_id,
            texts=planned.texts,
            real=real,
            synthetic=synthetic,
            weight=planned.weight if synthetic is not None else 0.0,
            takes_real=takes_real,
            explanation=planned.explanation if takes_real else None,
            zero_weight=planned.zero_weight,
        )

    def _video(self, planned: PlannedTriplet, kind: int) -> PreparedVideo | EncodedVideo | None:
        times = (planned.start, planned.end) if VIDEOS[kind] == "real" else (None, None)
        try:
            return self.preparer.read(self._videos[VIDEOS[kind]][planned.number], *times)
        except (MissingBackendError, FramePolicyError):
            raise  # the machine's fault or the user's, not the video's
        except VideoError as error:
            self._set_aside(planned, kind, error)
            return None

    def _set_aside(self, planned: PlannedTriplet, kind: int, error: VideoError) -> None:
        bit = 1 << kind
        if not self._marks[planned.number] & bit:
            self._recall()  # other processes may have met it
            known = bool(self._marks[planned.number] & bit)
            self._marks[planned.number] |= bit
            logger.warning("row %d, %s video set aside: %s", planned.number, VIDEOS[kind], error)
            if self._quarantine is not None and not known:
                self._quarantine.add(planned.number, planned.row_id, kind, error)
        unreadable = int((self._marks & 1).bool().sum() + (self._marks & 2).bool().sum())
        videos = self._counts["videos"]
        if unreadable > max(_FEW, self.options.max_unreadable * videos):
            raise self._too_many(f"{unreadable:,} of {videos:,} videos cannot be read") from error

    def _recall(self) -> None:
        """Mark what the quarantine file says of videos that are trained on; a row by another id is another row."""
        if self._quarantine is None:
            return
        for number, row_id, kind in self._quarantine.unseen():
            at = bisect_left(self._triplets, number, key=operator.attrgetter("number"))
            planned = self._triplets[at] if at < len(self._triplets) else None
            if planned is None or (planned.number, planned.row_id) != (number, row_id):
                continue
            if (planned.real, planned.synthetic)[kind]:
                self._marks[number] |= 1 << kind
                mark = int(self._marks[number])
                trains = (planned.takes_real and not mark & 1) or (planned.synthetic and not mark & 2)
                self._marks[number] |= 0 if trains else 4

    def _too_many(self, problem: str) -> VideoError:
        return VideoError(
            problem,
            file=self.name,
            expected=f"at most {self.options.max_unreadable:.0%} of them",
            fix="See the warnings before: a folder may have gone away; check_videos() names each one"
            + (f". When they are back, remove {self._quarantine.path}" if self._quarantine else ""),
        )
