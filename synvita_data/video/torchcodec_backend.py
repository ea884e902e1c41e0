"""Decoding with torchcodec, PyTorch's decoder, on the CPU; it needs FFmpeg's shared libraries."""

from collections.abc import Sequence
from typing import Any

from .errors import BackendError, MissingBackendError
from .frames import Frames
from .limits import Limits
from .other_backend import Plan, check_count, make_plan, refused
from .sampling import FramePolicy
from .source import Source


def read_frames(
    source: Source,
    policy: FramePolicy,
    start: float | None,
    end: float | None,
    limits: Limits,
    threads: int | None = None,
) -> Frames:
    """`decode` for backend `torchcodec`; the frames are scaled by torchcodec (bilinear, in FFmpeg).

    Raises:
        MissingBackendError: torchcodec is not installed, or finds no FFmpeg.
        BackendError: torchcodec counts other frames than the packets give, or gives others than it is asked for.
    """
    decoders, transforms = _import_torchcodec()
    plan = make_plan(source, policy, start, end, limits)
    try:
        decoder = decoders.VideoDecoder(
            source.content,
            stream_index=plan.stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=threads or 0,
            transforms=[] if policy.size is None else [transforms.Resize((plan.height, plan.width))],
        )
        check_count(len(decoder), plan, source, "torchcodec")
        given = decoder.get_frames_at(list(plan.chosen.indices))
    except (RuntimeError, ValueError) as error:
        raise refused("torchcodec", source, error) from error
    _check_times(given.pts_seconds.tolist(), plan, source)
    return plan.chosen.frames(given.data.numpy(), source, "torchcodec")


def _check_times(given: Sequence[float], plan: Plan, source: Source) -> None:
    """Complain about frames of other times than those asked for: in MPEG-TS its seeking loses frames.

    Raises:
        BackendError: so it is.
    """
    for time, timestamp in zip(given, plan.chosen.timestamps, strict=True):
        if abs(time - plan.timeline.start - timestamp) > 0.001:
            raise BackendError(
                "torchcodec gives other frames than those asked for",
                file=source.name,
                found=f"a frame of {time:.3f} s",
                expected=f"the one of {plan.timeline.start + timestamp:.3f} s",
                fix="Use backend 'pyav' for this file",
            )


def _import_torchcodec() -> tuple[Any, Any]:
    try:
        import torchcodec
        from torchcodec import decoders, transforms
    except (ImportError, OSError, RuntimeError) as error:
        raise _missing(str(error).strip().splitlines()[0]) from error
    if getattr(torchcodec, "ffmpeg_major_version", 0) is None:  # later versions import without FFmpeg
        raise _missing("torchcodec without FFmpeg")
    return decoders, transforms


def _missing(found: str) -> MissingBackendError:
    return MissingBackendError(
        "backend 'torchcodec' is not installed, or finds no FFmpeg",
        found=found,
        expected="torchcodec 0.10 or later, and FFmpeg 4 to 8 with shared libraries",
        fix="Install synvita-data[decoders] and FFmpeg, or use backend 'pyav'",
    )
