"""Files that are not what they should be give a named error that says where and what; bytes changed at random never crash."""

import os
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_clips import copy_packets, numbers_in, write_clip

from synvita_data.errors import VideoError
from synvita_data.video import (
    CorruptVideoError,
    FramePolicy,
    Limits,
    MissingVideoError,
    NoFramesError,
    NotAVideoError,
    NoVideoStreamError,
    TruncatedVideoError,
    VideoTooLargeError,
    check_video,
    decode,
    probe,
)

READERS = [probe, check_video, decode]
B_FRAMES = {"x264-params": "keyint=12:scenecut=0:bframes=3:b-adapt=0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of 40 frames in several containers; index.mp4 has its index in front, tail.mp4 at its end."""
    folder = tmp_path_factory.mktemp("damage")
    write_clip(folder / "tail.mp4", 40, options=B_FRAMES)
    write_clip(folder / "index.mp4", 40, options=B_FRAMES, movflags="faststart")
    write_clip(folder / "fragments.mp4", 40, options=B_FRAMES, movflags="frag_keyframe+empty_moov")
    write_clip(folder / "clip.mkv", 40, options=B_FRAMES)
    write_clip(
        folder / "clip.webm", 40, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}
    )
    write_clip(folder / "clip.avi", 40, codec="mpeg4", time_base=Fraction(1, 8), ticks=range(40))
    write_clip(folder / "clip.wmv", 40, codec="wmv2")
    write_clip(folder / "clip.ts", 40, options=B_FRAMES)
    write_clip(folder / "clip.flv", 40, options=B_FRAMES)
    return folder


def assert_tells(error: VideoError, file: object) -> None:
    assert error.file == str(file)
    assert error.found
    assert error.expected
    assert str(file) in str(error)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"hello " * 500, "b'hello hello"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
        (b"<!DOCTYPE html><html>404</html>" * 20, "HTML"),
        (b"PK\x03\x04" + bytes(500), "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        (bytes(5000), r"b'\\x00"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n", "EXTM3U"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "ffconcat"),
    ],
)
def test_other_content_under_a_video_s_name(tmp_path, reader, content: bytes, words: str) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(NotAVideoError, match=words) as caught:
        reader(path)
    assert_tells(caught.value, path)


@pytest.mark.parametrize("name", ["notes.txt", "picture.ansi"])
def test_text_is_not_drawn_as_a_video(tmp_path, name: str) -> None:
    """FFmpeg's `tty` demuxer renders text files by their suffix."""
    (tmp_path / name).write_text("hello\n" * 100)
    with pytest.raises(NotAVideoError):
        decode(tmp_path / name)


@pytest.mark.parametrize("reader", READERS)
def test_missing_files_folders_pipes_and_empty_structs(tmp_path, reader) -> None:
    with pytest.raises(MissingVideoError, match=r"absent\.mp4") as caught:
        reader(tmp_path / "absent.mp4")
    assert caught.value.found
    with pytest.raises(MissingVideoError):
        reader("a\0b.mp4")
    with pytest.raises(NotAVideoError, match="a folder"):
        reader(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(NotAVideoError, match="not a regular file"):  # and does not wait for a writer
        reader(tmp_path / "pipe.mp4")
    for struct in ({"bytes": None, "path": None}, {}, 3):
        with pytest.raises(MissingVideoError):
            reader(struct)


@pytest.mark.parametrize("reader", READERS)
def test_audio_alone_even_with_cover_art(tmp_path, reader) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NoVideoStreamError, match="audio") as caught:
        reader(path)
    assert_tells(caught.value, path)


@pytest.mark.parametrize("reader", READERS)
def test_a_video_stream_without_frames(tmp_path, reader) -> None:
    path = tmp_path / "hollow.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises((NoFramesError, NotAVideoError)) as caught:
        reader(path)
    assert_tells(caught.value, path)


def data_end(asf: bytes) -> int:
    """Where the data of an ASF file ends."""
    begin = asf.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"))
    return begin + int.from_bytes(asf[begin + 16 : begin + 24], "little")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(
    "name", ["tail.mp4", "index.mp4", "fragments.mp4", "clip.mkv", "clip.webm", "clip.avi", "clip.wmv"]
)
def test_a_cut_file_is_found_wherever_it_was_cut(folder, tmp_path, reader, share: float, name: str) -> None:
    data = (folder / name).read_bytes()
    if name == "fragments.mp4":  # a cut in the last box (mfra, an index nobody needs) harms nothing
        data = data[: data.rindex(b"mfra") - 4]
    if name == "clip.wmv":  # nor one in the index behind the data
        data = data[: data_end(data)]
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(TruncatedVideoError) as caught:
        reader(path)
    assert_tells(caught.value, path)
    assert f"{path.stat().st_size:,} bytes" in caught.value.found


def test_the_message_says_how_long_the_file_should_be(folder) -> None:
    data = (folder / "clip.mkv").read_bytes()
    with pytest.raises(TruncatedVideoError, match=f"at least {len(data):,} bytes"):
        probe(data[:-1])
    with av.open(str(folder / "index.mp4")) as container:
        end = max(packet.pos + packet.size for packet in container.demux(video=0) if packet.size)
    data = (folder / "index.mp4").read_bytes()
    with pytest.raises(TruncatedVideoError, match=f"1 of its 40 packets.*at least {end:,} bytes"):
        probe(data[: end - 1])


def test_bytes_after_the_end_do_no_harm(folder) -> None:
    for name in ("tail.mp4", "index.mp4", "clip.mkv", "clip.avi", "clip.wmv"):
        assert probe((folder / name).read_bytes() + b"\0" * 100).frames == 40


def packet_spans(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def test_zeros_inside_a_packet_are_found_by_the_check(folder) -> None:
    """A hole in the middle, as a killed copy to a cluster file system leaves: the length is right."""
    position, size = packet_spans(folder / "index.mp4")[30]
    data = bytearray((folder / "index.mp4").read_bytes())
    data[position : position + size] = bytes(size)
    assert probe(bytes(data)).frames == 40  # a probe reads no more than the first frame
    with pytest.raises(CorruptVideoError, match="packet 30") as caught:
        check_video(bytes(data))
    assert_tells(caught.value, f"<{len(data)} bytes>")


def test_a_damaged_first_frame_is_found_by_the_check(folder) -> None:
    position, size = packet_spans(folder / "index.mp4")[0]
    data = bytearray((folder / "index.mp4").read_bytes())
    data[position + size // 2 : position + size] = b"\xff" * (size - size // 2)
    for reader in (probe, check_video):
        with pytest.raises(CorruptVideoError):
            reader(bytes(data))


def test_damage_that_only_decoding_shows(folder) -> None:
    spans = packet_spans(folder / "index.mp4")
    position, size = max(spans[12:], key=lambda span: span[1])
    data = bytearray((folder / "index.mp4").read_bytes())
    data[position + 40 : position + size] = b"\xff" * (size - 40)
    check_video(bytes(data))  # as documented: not seen
    with pytest.raises(CorruptVideoError):
        check_video(bytes(data), decode_all=True)
    with pytest.raises(CorruptVideoError):
        decode(bytes(data), FramePolicy(rule="all"))
    # Frames that do not depend on the damaged packet are given.
    assert numbers_in(decode(bytes(data), FramePolicy(indices=(0, 1, 2))).pixels) == [0, 1, 2]


def test_a_whole_video_passes_every_check(folder) -> None:
    for path in folder.iterdir():
        info = check_video(path, decode_all=True)
        assert info == probe(path)
        assert (info.frames, info.height, info.width, info.has_audio) == (40, 64, 80, False)
        assert info.size_bytes == path.stat().st_size
        assert info.pix_fmt == "yuv420p"
        assert info.fps == pytest.approx(8.0)
        assert info.duration == pytest.approx(5.0)
    assert probe(folder / "clip.webm").codec == "vp9"
    assert probe(folder / "tail.mp4").codec == "h264"


def test_counts_in_headers_are_not_believed(folder) -> None:
    """An AVI header's frame count set to 7, and a Matroska file, which has none."""
    data = bytearray((folder / "clip.avi").read_bytes())
    at = data.index(b"avih") + 8 + 16  # dwTotalFrames
    assert int.from_bytes(data[at : at + 4], "little") == 40
    data[at : at + 4] = (7).to_bytes(4, "little")
    at = data.index(b"strh") + 8 + 32  # dwLength of the stream
    data[at : at + 4] = (7).to_bytes(4, "little")
    assert probe(bytes(data)).frames == 40
    with av.open(str(folder / "clip.mkv")) as container:
        assert container.streams.video[0].frames == 0
    assert probe(folder / "clip.mkv").frames == 40


def test_metadata_in_no_known_encoding_is_no_obstacle(folder, tmp_path) -> None:
    path = tmp_path / "titled.mp4"
    with av.open(str(folder / "tail.mp4")) as given, av.open(str(path), "w") as output:
        output.metadata["title"] = "TITLE-TITLE"
        stream = output.add_stream_from_template(given.streams.video[0])
        output.start_encoding()
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    data = path.read_bytes()
    assert b"TITLE-TITLE" in data
    assert probe(data.replace(b"TITLE-TITLE", b"\xff\xfe\xc3TLE-TITL\xe9")).frames == 40


def test_limits_apply_to_probing(folder) -> None:
    for limits in (
        Limits(max_frames=39),
        Limits(max_seconds=4),
        Limits(max_pixels=5119),
        Limits(max_bytes=99),
    ):
        with pytest.raises(VideoTooLargeError):
            check_video(folder / "clip.mkv", limits)


def mutate(data: bytes, chooser: random.Random) -> bytes:
    changed = bytearray(data)
    at = chooser.randrange(len(changed))
    kind = chooser.choice(["flip", "head", "cut", "zero", "insert", "delete"])
    if kind in ("flip", "head"):
        reach = min(len(changed), 1500) if kind == "head" else len(changed)
        for _ in range(chooser.choice([1, 3, 20, 200])):
            changed[chooser.randrange(reach)] = chooser.randrange(256)
    elif kind == "cut":
        del changed[at:]
    elif kind == "zero":
        changed[at : at + chooser.randrange(1, 2000)] = bytes(
            len(changed[at : at + chooser.randrange(1, 2000)])
        )
    elif kind == "insert":
        changed[at:at] = chooser.randbytes(chooser.randrange(1, 100))
    else:
        del changed[at : at + chooser.randrange(1, 200)]
    return bytes(changed)


def fuzz(folder: Path, rounds: int, seed: int) -> set[str]:
    """Names of all outcomes; anything but frames or a VideoError escapes as itself."""
    chooser, outcomes = random.Random(seed), set()
    originals = sorted(folder.iterdir())
    policy, limits = FramePolicy(count=4, size=(32, 32)), Limits(max_pixels=1 << 22, max_frames=5000)
    for _ in range(rounds):
        data = mutate(chooser.choice(originals).read_bytes(), chooser)
        for reader in (
            lambda data: decode(data, policy, limits=limits),
            lambda data: check_video(data, limits),
        ):
            try:
                reader(data)
            except VideoError as error:
                outcomes.add(type(error).__name__ if error.file else "an error without a file")
            else:
                outcomes.add("fine")
    assert "an error without a file" not in outcomes
    return outcomes


def test_random_damage_gives_frames_or_a_named_error(folder) -> None:
    outcomes = fuzz(folder, 250, seed=20261120)
    assert {"fine", "TruncatedVideoError", "CorruptVideoError", "NotAVideoError"} <= outcomes


@pytest.mark.slow
def test_much_random_damage(folder) -> None:
    assert len(fuzz(folder, 5000, seed=7)) >= 5


def test_a_stream_that_appears_late_in_an_flv(folder, tmp_path) -> None:
    """FLV announces streams by their first packet; PyAV 18 trips over those at the end of the file."""
    data = (folder / "clip.flv").read_bytes()
    audio = bytes([8, 0, 0, 3, 0, 10, 0, 0, 0, 0, 0]) + bytes([0x22, 0, 0]) + (14).to_bytes(4, "big")
    assert probe(data + audio * 3).frames == 40
    assert numbers_in(decode(data + audio * 3, FramePolicy(rule="all")).pixels) == list(range(40))


def test_copying_packets_keeps_the_check_content(folder, tmp_path) -> None:
    copied = copy_packets(folder / "index.mp4", tmp_path / "copied.mkv")
    assert check_video(copied, decode_all=True).frames == 40


@pytest.mark.parametrize("kind", [b"free", b"thum", b"PICT", b"\xa9xyz"])
def test_a_box_of_another_type_before_the_index_is_skipped_by_its_size(folder, tmp_path, kind):
    data = (folder / "tail.mp4").read_bytes()
    at = data.index(b"moov") - 4
    path = tmp_path / "boxed.mp4"
    path.write_bytes(data[:at] + (64).to_bytes(4, "big") + kind + bytes(56) + data[at:])
    assert check_video(path).frames == 40
    # The same file without its index is still one that was cut off.
    path.write_bytes(data[:at] + (64).to_bytes(4, "big") + kind + bytes(56))
    with pytest.raises(TruncatedVideoError, match="moov"):
        check_video(path)
