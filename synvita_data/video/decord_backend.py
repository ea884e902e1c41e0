"""Decoding with decord 0.6, as VideoCon's and many models' own scripts do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """`decode` for backend `decord`; the frames are scaled by decord (bicubic), in its own FFmpeg.

    Raises:
        MissingBackendError: decord is not installed.
        BackendError: decord counts other frames than the packets give (edit lists, streams cut open), fails
            (it does at some widths below 80), or would have several video streams to choose from.
    """
    decord = _import_decord()
    plan = make_plan(source, policy, start, end, limits)
    if plan.rivals:  # its FFmpeg knows nothing of default streams, and it cannot be told which to take
        raise BackendError(
            "decord cannot be told which of several video streams to decode",
            file=source.name,
            found=f"{plan.rivals + 1} video streams",
            expected=f"one, or a backend that can be told to take stream {plan.stream}",
            fix="Use backend 'pyav' or 'torchcodec' for this file",
        )
    size = {} if policy.size is None else {"height": plan.height, "width": plan.width}
    try:
        # A reader that outlives this call would deadlock in a forked process.
        reader = decord.VideoReader(
            source.open() if isinstance(source.content, bytes) else str(source.content),
            ctx=decord.cpu(0),
            num_threads=threads or 0,
            **size,
        )
        check_count(len(reader), plan, source, "decord")
        pixels = _in_order(reader, plan) if plan.in_order else reader.get_batch(plan.chosen.indices).asnumpy()
    except decord.DECORDError as error:
        raise refused("decord", source, error) from error
    return plan.chosen.frames(np.ascontiguousarray(pixels), source, "decord")


def _in_order(reader: Any, plan: Plan) -> NDArray[np.uint8]:
    """The chosen frames by reading from the beginning: decord's seeking is off by the frames an open GOP loses, and
    lands on other frames in containers without an index (FLV)."""
    pixels = np.empty((len(plan.chosen.indices), plan.height, plan.width, 3), np.uint8)
    for index in range(max(plan.chosen.indices) + 1):
        frame = reader.next()
        for row, chosen in enumerate(plan.chosen.indices):
            if chosen == index:
                pixels[row] = frame.asnumpy()
    return pixels


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
