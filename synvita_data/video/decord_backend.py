"""Decoding with decord 0.6, as VideoCon's and many models' own scripts do."""

import io
from typing import Any

import numpy as np

from .errors import BackendError, CorruptVideoError, MissingBackendError
from .frames import Frames
from .limits import Limits
from .other_backend import Plan, make_plan
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
    """`decode` for backend `decord`; the frames are scaled by decord (bicubic), in its own FFmpeg.

    Raises:
        MissingBackendError: decord is not installed.
        BackendError: decord counts other frames than the packets give (edit lists, streams cut open).
    """
    decord = _import_decord()
    plan = make_plan(source, policy, start, end, limits)
    size = {} if policy.size is None else {"height": plan.height, "width": plan.width}
    try:
        # A reader that outlives this call would deadlock in a forked process.
        reader = decord.VideoReader(
            io.BytesIO(source.data) if source.data is not None else source.name,
            ctx=decord.cpu(0),
            num_threads=threads or 0,
            **size,
        )
        _check_count(len(reader), plan, source)
        pixels = reader.get_batch(plan.chosen).asnumpy()
    except decord.DECORDError as error:
        raise CorruptVideoError(
            "decord cannot decode a video", file=source.name, found=str(error).strip().splitlines()[0]
        ) from error
    return plan.frames(np.ascontiguousarray(pixels), source, "decord")


def _check_count(found: int, plan: Plan, source: Source) -> None:
    if found != len(plan.timeline.timestamps):
        raise BackendError(
            "decord counts frames that are not shown, or misses some",
            file=source.name,
            found=f"{found} frames",
            expected=f"{len(plan.timeline.timestamps)} frames",
            fix="Use backend 'pyav' for this file",
        )


def _import_decord() -> Any:
    try:
        import decord
    except (ImportError, OSError) as error:
        raise MissingBackendError(
            "backend 'decord' is not installed",
            found=str(error),
            fix="Install it with pip install 'synvita-data[decoders]', or use backend 'pyav'",
        ) from error
    decord.logging.set_level(decord.logging.QUIET)  # otherwise its FFmpeg writes to stderr
    decord.bridge.set_bridge("native")
    return decord
