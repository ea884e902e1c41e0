"""Features of videos from the frozen vision tower, kept from one epoch, run or evaluation to the next."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from synvita_data.errors import SynvitaError, VideoError
from synvita_data.models import AlignmentModel
from synvita_data.models.features import FeatureCache, KnownVideo
from synvita_data.models.runtime import one_cpu_thread, read_ahead
from synvita_data.models.videos import Clip
from synvita_data.video import FramePolicy

from .dataset import TripletData


def feature_cache_of(
    model: AlignmentModel,
    revision: str,
    root: str | Path,
    *,
    frames: FramePolicy | None = None,
    max_bytes: int = 100 << 30,
) -> FeatureCache:
    """The cache of a model's features, the same as `synvita evaluate --feature-cache` keeps for it.

    Args:
        model: whose features are kept.
        revision: of the model, as `load_alignment_model` gives it.
        root: folder of the cache.
        frames: which frames; None for the family's own.
        max_bytes: size at which nothing more is added.

    Raises:
        SynvitaError: an adapter reaches the tower, whose features would not stay the same.
    """
    if adapted := [name for name, _ in model.family.tower_parameters() if "lora_" in name]:
        raise _moving(adapted)
    return FeatureCache.of(model, revision, root, frames=frames, max_bytes=max_bytes)


def check_frozen_tower(model: AlignmentModel) -> None:
    """Complain about a model whose training changes the features that a cache keeps.

    Raises:
        SynvitaError: parameters of the tower ask for gradients, or an adapter reaches it.
    """
    moving = [name for name, own in model.family.tower_parameters() if own.requires_grad or "lora_" in name]
    if moving:
        raise _moving(moving)


@dataclass(frozen=True, slots=True)
class FillReport:
    """What `fill_feature_cache` did.

    Attributes:
        videos: distinct videos of this shard.
        found: how many of them the cache had already.
        made: how many were added.
        not_kept: for how many it had no room left.
        unreadable: how many cannot be decoded.
    """

    videos: int
    found: int
    made: int
    not_kept: int
    unreadable: int


def fill_feature_cache(
    data: TripletData,
    model: AlignmentModel,
    *,
    workers: int = 2,
    shard: tuple[int, int] = (0, 1),
    on_progress: Callable[[int, int], None] | None = None,
) -> FillReport:
    """Encode every video that will be trained on and keep its features; what a killed run has kept is not made again.

    Args:
        data: made with the cache.
        model: whose tower runs, on its device, in evaluation mode.
        workers: threads that decode ahead of it.
        shard: (i, n) takes every n-th video from the i-th on; processes may also work on the same ones.
        on_progress: called with videos done and in all.

    Raises:
        SynvitaError: `data` has no cache. StoreError: the cache's folder cannot be written.
    """
    preparer = data.preparer
    cache = preparer.cache
    if cache is None:
        raise SynvitaError("the data has no feature cache to fill", fix="Give cache= to TripletData")
    videos = data.distinct_videos()[shard[0] :: shard[1]]
    count = dict.fromkeys(("found", "made", "not_kept", "unreadable"), 0)

    def read(clip: Clip) -> KnownVideo | None:
        try:
            key = cache.key(clip)
        except OSError as error:
            raise VideoError("a video cannot be opened", file=str(clip.video), found=str(error)) from error
        return None if key in cache else preparer.decoded(clip, key)

    device = str(model.family.model.device)
    training = model.training
    model.eval()
    for done, (_, outcome) in enumerate(read_ahead((each.clip() for each in videos), read, workers), 1):
        if isinstance(outcome, VideoError):
            count["unreadable"] += 1  # training sets it aside, with its reason
        elif outcome is None or outcome.key is None:
            count["found"] += 1
        else:
            # As the scorer does it, so that either finds the bits it would have made.
            with torch.inference_mode(), one_cpu_thread(device):
                features = model.encode(outcome.video.prepared)
            kept = cache.put(outcome.key, KnownVideo(features, outcome.frames))
            count["made" if kept else "found" if outcome.key in cache else "not_kept"] += 1
        if on_progress is not None:
            on_progress(done, len(videos))
    model.train(training)
    return FillReport(len(videos), **count)


def _moving(names: list[str]) -> SynvitaError:
    return SynvitaError(
        "features of a vision tower that is trained cannot be kept",
        found=f"{len(names)} trained tensors of it, first {names[0]}",
        expected="a frozen tower, as in the paper",
        fix="Freeze the tower (tune='lora' with the family's own lora_targets), or train without a feature cache",
    )
