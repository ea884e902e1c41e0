"""Why a video cannot be used: one exception a cause, each naming file, what was found and what was expected."""

from ..errors import VideoError


class MissingVideoError(VideoError):
    """The file does not exist or cannot be read, or a dataset row holds neither bytes nor path."""


class NotAVideoError(VideoError):
    """The content is not a video container this package reads: empty, another kind of file, or headers destroyed."""


class TruncatedVideoError(VideoError):
    """The file ends before the data that its own headers announce."""


class CorruptVideoError(VideoError):
    """The container is whole but its packets do not decode without errors."""


class NoVideoStreamError(VideoError):
    """A media file without a video stream (audio only; cover art is not a video)."""


class NoFramesError(VideoError):
    """No frame to give: a stream without frames, a window [start, end) without frames, an index out of range."""


class VideoTooLargeError(VideoError):
    """The video, or what was asked of it, exceeds `Limits`."""


class MissingBackendError(VideoError):
    """The decoder asked for is not installed or finds no FFmpeg."""


class BackendError(VideoError):
    """An optional backend fails on a file that the default one opens, or counts its frames differently."""


class FramePolicyError(VideoError):
    """A `FramePolicy` that asks for something impossible or contradictory."""


class EncodeError(VideoError):
    """Pixels, frame rate or size that cannot be encoded."""
