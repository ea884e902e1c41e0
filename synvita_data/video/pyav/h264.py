"""The little of H.264's syntax that decides which packets can be left out, and whether a packet is whole.

A picture whose slices have nal_ref_idc 0 is no reference for any other picture (ITU-T H.264, 7.4.1), so a
decoder that does not show it need not decode it: half of the frames of x264's default output.
"""

_SLICE = 1  # of a picture that is not an IDR picture
# A packet that holds only these, besides non-reference slices, can be dropped: SEI, access unit delimiter,
# filler. Parameter sets (7, 8) must reach the decoder; extensions (14, 20) are left alone.
_HARMLESS = frozenset((6, 9, 12))


def length_size(extradata: bytes | None) -> int | None:
    """Bytes of a NAL unit's length prefix, from an `avcC` record; None for start codes (Annex B)."""
    if extradata and len(extradata) > 6 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    return None


def inspect_packet(packet: memoryview, prefix: int | None) -> tuple[bool, bool]:
    """`(whole, droppable)` of one access unit.

    `whole`: the NAL units' lengths add up to the packet and their forbidden bit is 0 (always True for
    Annex B, which has no lengths). `droppable`: only non-reference slices and harmless NAL units.
    """
    headers = _annex_b_headers(packet) if prefix is None else _prefixed_headers(packet, prefix)
    if headers is None or any(header & 0x80 for header in headers):
        return prefix is None, False
    spare = [header & 31 == _SLICE and header >> 5 & 3 == 0 for header in headers]
    rest = (header & 31 for header, is_spare in zip(headers, spare, strict=True) if not is_spare)
    return True, any(spare) and all(kind in _HARMLESS for kind in rest)


def _prefixed_headers(packet: memoryview, prefix: int) -> list[int] | None:
    headers, position, end = [], 0, len(packet)
    while position < end:
        start = position + prefix
        length = int.from_bytes(packet[position:start], "big")
        if length < 1 or start + length > end:
            return None
        headers.append(packet[start])
        position = start + length
    return headers


def _annex_b_headers(packet: memoryview) -> list[int]:
    data, headers, position = bytes(packet), [], 0
    while (position := data.find(b"\x00\x00\x01", position)) >= 0 and position + 3 < len(data):
        headers.append(data[position + 3])
        position += 3
    return headers
