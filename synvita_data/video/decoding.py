"""`decode`: the one function that turns a video into frames, whatever decodes it."""

from importlib import import_module

from .frames import Frames
from .limits import Limits
from .sampling import FramePolicy
from .source import VideoSource, resolve

# Backend -> its module, imported when it is asked for.
_BACKENDS = {"pyav": ".pyav.backend", "decord": ".decord_backend", "torchcodec": ".torchcodec_backend"}


def decode(
    source: VideoSource,
    policy: FramePolicy = FramePolicy(),  # noqa: B008 (frozen)
    start: float | None = None,
    end: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    *,
    threads: int | None = None,
) -> Frames:
    """Decode the frames that `policy` chooses.

    Readers are opened and closed inside the call: a process may decode, fork, and decode in both
    processes; threads may decode at once. Memory holds the compressed stream (up to 64 MiB of it) and the
    chosen frames at their final size, not the video.

    Args:
        source: a path, the file's bytes, or a dataset row's `{"bytes", "path"}` (bytes win).
        policy: which frames, at what size, by which backend.
        start, end: seconds after the file's first frame; only frames shown within [start, end) are chosen
            from. None: the whole file.
        limits: refuse larger videos.
        threads: of the decoder; None: one more than the processors this process may use, at most 8. Use 1
            in a data loader with one worker a processor. Pixels do not depend on it.

    Returns:
        Frames, uint8 RGB; `Frames.indices` count in the whole file.

    Raises:
        VideoError: always one of the classes in `synvita_data.video.errors`.
    """
    resolved = resolve(source, limits)
    backend = import_module(_BACKENDS[policy.backend], __package__)
    return backend.read_frames(resolved, policy, start, end, limits, threads)
