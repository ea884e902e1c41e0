"""How long a media file says it is, from its own outer structure; a shorter file was cut off.

FFmpeg reads a truncated Matroska or AVI file to its end without a word, and calls an MP4 whose index
(`moov`, often written last) is missing "invalid data". Walking the outermost boxes tells the cases apart
and costs a few small reads.
"""

from dataclasses import dataclass
from typing import BinaryIO

# Box types at the top level of ISO base media (MP4, MOV) files; anything else ends the walk.
_BOXES = frozenset(
    b"ftyp moov mdat moof free skip wide uuid meta mfra sidx ssix styp pdin prft emsg udta pnot".split()
)
_MAX_BOXES = 500_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Evidence that a file ends too early: what lacks, and the least length it should have."""

    what: str
    least_bytes: int


def find_cut(handle: BinaryIO, size: int) -> Cut | None:
    """Evidence that a file of `size` bytes was cut off, or None; leaves `handle` at its start.

    ISO media: no `moov` box, or a fragmented file whose last box runs over the end (in a file that is
    not fragmented the sample table decides, see `packets.read_index`). Matroska and WebM: the Segment's
    declared size. AVI: the RIFF chunks' sizes. Other containers declare nothing: None.
    """
    handle.seek(0)
    head = handle.read(16)
    try:
        if head[4:8] in _BOXES:
            return _iso_cut(handle, size)
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _matroska_cut(handle, size)
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _riff_cut(handle, size)
        return None
    finally:
        handle.seek(0)


def is_iso(head: bytes) -> bool:
    """Whether a file that begins with `head` (8 bytes or more) is ISO base media: MP4, MOV, 3GP."""
    return head[4:8] in _BOXES


def _iso_cut(handle: BinaryIO, size: int) -> Cut | None:
    position, seen, last = 0, set(), b""
    for _ in range(_MAX_BOXES):
        if position + 8 > size:
            break
        handle.seek(position)
        head = handle.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind not in _BOXES:
            break
        seen.add(kind)
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < 8:
            break
        position, last = position + length, kind
    if b"meta" in seen and b"moov" not in seen:  # a HEIF or AVIF picture
        return None
    if b"moov" not in seen or (last == b"moov" and position > size):
        what = "a whole moov box, the index of an MP4 file"
        return Cut(what, max(position, size + 1))
    if b"moof" in seen and last in (b"moof", b"mdat") and position > size:
        return Cut(f"the rest of its last {last.decode()} box", position)
    return None


def _matroska_cut(handle: BinaryIO, size: int) -> Cut | None:
    handle.seek(4)
    header = _vint(handle)
    if header is None:
        return None
    handle.seek(header, 1)
    if handle.read(4) != b"\x18\x53\x80\x67":  # Segment
        return None
    length = _vint(handle)
    if length is None:  # a live stream does not know its length
        return None
    end = handle.tell() + length
    return Cut("the rest of its Matroska segment", end) if end > size else None


def _vint(handle: BinaryIO) -> int | None:
    """An EBML variable-length size; None for the reserved 'unknown' or a broken one."""
    first = handle.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    rest = handle.read(width - 1)
    value = int.from_bytes(bytes([first[0] & ((1 << (8 - width)) - 1)]) + rest, "big")
    return None if len(rest) < width - 1 or value == (1 << 7 * width) - 1 else value


def _riff_cut(handle: BinaryIO, size: int) -> Cut | None:
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 12 > size:
            break
        handle.seek(position)
        head = handle.read(12)
        if head[:4] != b"RIFF" or head[8:12] not in (b"AVI ", b"AVIX"):
            break
        length = int.from_bytes(head[4:8], "little")
        if length in (0, 0xFFFFFFFF):  # never filled in: says nothing
            return None
        position += 8 + length + (length & 1)
    # The final pad byte is often left out.
    return Cut("the rest of its RIFF chunk", position) if position - 1 > size else None
