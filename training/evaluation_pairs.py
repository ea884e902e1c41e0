"""`EvaluationPairs`: the videos of a held-out split with both captions and the truth, for the AUC during training."""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from synvita_data.captions.text import Text
from synvita_data.display import get_logger
from synvita_data.errors import SchemaError, VideoError
from synvita_data.models import AlignmentModel, EncodedVideo, PreparedVideo
from synvita_data.models.features import FeatureCache
from synvita_data.video import FramePolicy, FramePolicyError, MissingBackendError

from .rows import Row, VideoColumn, describe, read_rows
from .text_check import TextCheck
from .triplet import VIDEOS
from .videos import VideoPreparer

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationItem:
    """One video with its two captions.

    Attributes:
        row_id: of the dataset. kind: of VIDEOS.
        video: None where it cannot be read; it then counts for nothing.
        texts: (caption, neg_caption), shown whole. labels: whether each is true of the video.
    """

    row_id: str
    kind: str
    video: PreparedVideo | EncodedVideo | None
    texts: tuple[Text, Text]
    labels: tuple[bool, bool]


class EvaluationPairs(Dataset[EvaluationItem]):
    """A held-out split as pairs of a video and a caption: (real, caption, true), (real, neg_caption, false), and
    on request (synthetic, neg_caption, true), (synthetic, caption, false).

    A real video comes once a pair, whatever the number of synthetic ones. Rows without the video are left out and
    counted. Loader workers give what this process would.

    Args:
        rows, model, cache, name: as for `TripletData`.
        synthetic: whether synthetic videos are asked about too.
        frames: which frames; None for the model family's own.

    Raises:
        SynvitaError: as `TripletData`; SchemaError where no row has a video.
    """

    def __init__(
        self,
        rows: Any,
        model: AlignmentModel | VideoPreparer,
        *,
        synthetic: bool = False,
        frames: FramePolicy | None = None,
        cache: FeatureCache | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(model, AlignmentModel):
            model = VideoPreparer.of(model, frames=frames, cache=cache)
        self.preparer = model
        self.name = name or describe(rows)
        kinds = VIDEOS if synthetic else VIDEOS[:1]
        read = read_rows(rows, optional=["synthetic_video"] if synthetic else [], name=self.name)
        self._items: list[tuple[Row, str]] = []
        taken: set[str] = set()
        for row in read:
            if row.has_real and row.pair_id not in taken:
                taken.add(row.pair_id)
                self._items.append((row, VIDEOS[0]))
            if row.has_synthetic:
                self._items.append((row, VIDEOS[1]))
        if not self._items:
            raise SchemaError(
                "no row of the held-out split has a video",
                file=self.name,
                found=f"{len(read):,} rows, no {' and no '.join(kinds)} video",
                expected="at least one",
                fix="Say where the real videos lie: real_root=DIR (in a recipe, or of load_triplets)",
            )
        pairs = len({row.pair_id for row in read})
        self._counts = {
            "rows": len(read),
            "pairs": pairs,
            "videos": len(self._items),
            "without_real": pairs - len(taken),
            "without_synthetic": sum(not row.has_synthetic for row in read) if synthetic else 0,
        }
        TextCheck(model, self.name).captions(
            [(caption, row.number) for row, _ in self._items for caption in (row.caption, row.neg_caption)]
        )
        self._videos = {kind: VideoColumn(rows, f"{kind}_video") for kind in kinds}
        self._unreadable = torch.zeros(len(self._items), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> EvaluationItem:
        index = range(len(self))[operator.index(index)]
        row, kind = self._items[index]
        real = kind == "real"
        times = (row.start, row.end) if real else (None, None)
        try:
            video = self.preparer.read(self._videos[kind][row.number], *times)
        except (MissingBackendError, FramePolicyError):
            raise
        except VideoError as error:
            if not self._unreadable[index]:
                logger.warning("row %d, %s video left out of the evaluation: %s", row.number, kind, error)
            self._unreadable[index] = 1
            video = None
        texts = (Text(row.caption), Text(row.neg_caption))
        return EvaluationItem(row.row_id, kind, video, texts, (real, not real))

    @property
    def counts(self) -> dict[str, int]:
        """Plain numbers for logs: rows, pairs, videos, pairs without a real video, rows without a synthetic one,
        and videos that turned out unreadable so far."""
        return {**self._counts, "unreadable": int(self._unreadable.sum())}
