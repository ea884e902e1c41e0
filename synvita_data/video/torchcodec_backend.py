"""Decoding with torchcodec, PyTorch's decoder, on the CPU; it needs FFmpeg's shared libraries."""

from typing import Any

from .errors import BackendError, CorruptVideoError, MissingBackendError
from .frames import Frames
from .limits import Limits
from .other_backend import make_plan
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
        BackendError: torchcodec counts other frames than the packets give.
    """
    decoders, transforms = _import_torchcodec()
    plan = make_plan(source, policy, start, end, limits)
    try:
        decoder = decoders.VideoDecoder(
            source.data if source.data is not None else source.name,
            dimension_order="NHWC",
            num_ffmpeg_threads=threads or 0,
            transforms=[] if policy.size is None else [transforms.Resize((plan.height, plan.width))],
        )
        if len(decoder) != len(plan.timeline.timestamps):
            raise BackendError(
                "torchcodec counts frames that are not shown, or misses some",
                file=source.name,
                found=f"{len(decoder)} frames",
                expected=f"{len(plan.timeline.timestamps)} frames",
                fix="Use backend 'pyav' for this file",
            )
        pixels = decoder.get_frames_at(plan.chosen).data.numpy()
    except (RuntimeError, ValueError) as error:
        raise CorruptVideoError(
            "torchcodec cannot decode a video", file=source.name, found=str(error).strip().splitlines()[0]
        ) from error
    return plan.frames(pixels, source, "torchcodec")


def _import_torchcodec() -> tuple[Any, Any]:
    try:
        from torchcodec import decoders, transforms
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingBackendError(
            "backend 'torchcodec' is not installed, or finds no FFmpeg",
            found=str(error).strip().splitlines()[0],
            fix="Install synvita-data[decoders] and FFmpeg 4 to 8 with shared libraries, or use backend 'pyav'",
        ) from error
    return decoders, transforms
