"""decord and torchcodec give the same frames as PyAV, and are named where they are missing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import copy_packets, numbers_in, write_clip

from synvita_data.video import (
    BackendError,
    FramePolicy,
    MissingBackendError,
    TruncatedVideoError,
    VideoTooLargeError,
    decode,
)
from synvita_data.video.source import Limits

OTHERS = ["decord", "torchcodec"]
CLIPS = {
    "b-frames.mp4": {"options": {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"}},
    "open-gop.mp4": {"options": {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0:open-gop=1"}},
    "variable.mp4": {"ticks": [i * i * 7 + 40 * i for i in range(40)]},
    "late.mkv": {"ticks": [5000 + 125 * i for i in range(40)]},
}


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The backend of the parameter, or a skip where it cannot run."""
    from importlib import import_module

    module = import_module("synvita_data.video.other_backends")
    try:
        getattr(module, f"_import_{request.param}")()
    except MissingBackendError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("backends")

    def made(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_clip(path, 40, **CLIPS[name])

    return made


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
@pytest.mark.parametrize("name", CLIPS)
def test_same_frames_at_the_stored_size(clip, backend: str, name: str) -> None:
    """The same pixels to the last bit: all three convert with swscale's plain converter."""
    ours = decode(clip(name), FramePolicy(rule="all"))
    theirs = decode(clip(name), FramePolicy(rule="all", backend=backend))
    assert numbers_in(theirs.pixels) == list(range(40))
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert theirs.record() == {**ours.record(), "backend": backend}


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
@pytest.mark.parametrize("angle", [90, 180, -90])
def test_rotated_clips_are_turned_alike(tmp_path, backend: str, angle: int) -> None:
    path = write_clip(tmp_path / "turned.mp4", 8, rotation=angle)
    for size in (None, 32):
        ours = decode(path, FramePolicy(count=2, size=size)).pixels
        theirs = decode(path, FramePolicy(count=2, size=size, backend=backend)).pixels
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs).mean() < (4 if size else 1e-9)


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
def test_chosen_frames_windows_and_bytes(clip, backend: str) -> None:
    data = clip("open-gop.mp4").read_bytes()
    frames = decode({"bytes": data, "path": "x.mp4"}, FramePolicy(count=3, backend=backend), 1.0, 3.0)
    assert numbers_in(frames.pixels) == [10, 16, 21] == list(frames.indices)
    assert numbers_in(decode(data, FramePolicy(indices=(9, 2, 9), backend=backend)).pixels) == [9, 2, 9]
    assert frames.source == "x.mp4"


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
def test_scaled_frames_are_close(clip, backend: str) -> None:
    """docs/video.md has the figures on real clips; each scales in its own way."""
    for size in ((56, 56), 32):
        ours = decode(clip("b-frames.mp4"), FramePolicy(count=5, size=size)).pixels
        theirs = decode(clip("b-frames.mp4"), FramePolicy(count=5, size=size, backend=backend)).pixels
        assert ours.shape == theirs.shape
        assert numbers_in(ours) == numbers_in(theirs)
        assert np.abs(ours.astype(int) - theirs).mean() < 4


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
def test_errors_are_ours(clip, tmp_path, backend: str) -> None:
    data, policy = clip("b-frames.mp4").read_bytes(), FramePolicy(backend=backend)
    with pytest.raises(TruncatedVideoError):
        decode(data[:-500], policy)
    with pytest.raises(VideoTooLargeError):
        decode(data, policy, limits=Limits(max_frames=39))
    raw = write_clip(tmp_path / "raw.h264", 8, container="h264")
    with pytest.raises(BackendError, match="pyav"):
        decode(raw, policy)


@pytest.mark.parametrize("backend", OTHERS, indirect=True)
def test_edit_lists_give_the_same_frames_or_an_error(clip, tmp_path, backend: str) -> None:
    """decord counts frames that an edit list hides: refused, never shifted silently."""
    trimmed = copy_packets(clip("b-frames.mp4"), tmp_path / "trimmed.mp4", shift=-16000)
    try:
        frames = decode(trimmed, FramePolicy(rule="all", backend=backend))
    except BackendError as error:
        refusal = error
    else:
        assert numbers_in(frames.pixels) == list(range(8, 40))
        return
    assert refusal.expected == "32 frames"
    assert refusal.found != refusal.expected


@pytest.mark.parametrize("backend", OTHERS)
def test_a_missing_backend_says_what_to_install(clip, monkeypatch, backend: str) -> None:
    for name in (backend, f"{backend}.decoders", f"{backend}.transforms"):
        monkeypatch.setitem(sys.modules, name, None)  # what Python does for a module that is not there
    with pytest.raises(MissingBackendError, match=r"(?i)install .*\[decoders\]"):
        decode(clip("b-frames.mp4"), FramePolicy(backend=backend))


@pytest.mark.slow
def test_torchcodec_with_the_ffmpeg_inside_pyav(tmp_path) -> None:
    """Runs this file's torchcodec tests where torchcodec finds an FFmpeg: PyAV's, by symlinks."""
    import av

    libraries = Path(av.__file__).parents[1] / "av.libs"
    if not libraries.is_dir() or not sys.platform.startswith("linux"):
        pytest.skip("PyAV bundles no FFmpeg here")
    pytest.importorskip("torch")
    for library in libraries.glob("lib*-*.so.*"):
        stem, version = library.name.split("-", 1)
        if stem in (
            "libavcodec",
            "libavformat",
            "libavutil",
            "libswscale",
            "libswresample",
            "libavfilter",
            "libavdevice",
        ):
            (tmp_path / f"{stem}.so.{version.split('.so.')[1].split('.')[0]}").symlink_to(library)
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{tmp_path}:{libraries}"}
    files = [
        str(Path(__file__).with_name(f"test_video_{name}.py")) for name in ("backends", "on_show", "streams")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-rs", *files]
    command += ["-k", "torchcodec and not inside_pyav", "--basetemp", str(tmp_path / "inner")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    if "skipped" in done.stdout:
        pytest.skip(f"torchcodec does not run with it: {done.stdout[-500:]}")
