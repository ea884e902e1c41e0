"""Probing, decoding and encoding videos. Importing this imports neither PyAV nor torch.

    frames = decode("clip.mp4", FramePolicy(count=8, size=(224, 224)))
    frames.pixels  # uint8 [8, 224, 224, 3]

See docs/video.md for rules, sizes, backends, errors and what a check detects.
"""

from ..errors import (
    BackendError,
    CorruptVideoError,
    EncodeError,
    FramePolicyError,
    MissingBackendError,
    MissingVideoError,
    NoFramesError,
    NotAVideoError,
    NoVideoStreamError,
    TruncatedVideoError,
    VideoTooLargeError,
)
from .decoding import VideoInfo, check_video, decode, probe
from .encoding import encode_mp4
from .frames import Frames
from .sampling import BACKENDS, RULES, FramePolicy, select_frames
from .source import Limits, VideoSource

__all__ = [
    "BACKENDS",
    "RULES",
    "BackendError",
    "CorruptVideoError",
    "EncodeError",
    "FramePolicy",
    "FramePolicyError",
    "Frames",
    "Limits",
    "MissingBackendError",
    "MissingVideoError",
    "NoFramesError",
    "NoVideoStreamError",
    "NotAVideoError",
    "TruncatedVideoError",
    "VideoInfo",
    "VideoSource",
    "VideoTooLargeError",
    "check_video",
    "decode",
    "encode_mp4",
    "probe",
    "select_frames",
]
