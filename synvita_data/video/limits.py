"""How large a video may be before it is refused: a guard against decompression bombs and wrong files."""

from dataclasses import dataclass

from .errors import VideoTooLargeError


@dataclass(frozen=True, slots=True)
class Limits:
    """Refuse a video beyond any of these. The defaults pass 8K frames and two hours at 30 frames a second.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height of one stored frame; also enforced inside the decoder, so that a
            stream whose headers lie is stopped before its frames are allocated.
        max_frames: frames in the video stream.
        max_seconds: duration of the video stream.
        max_output_bytes: size of the RGB array that one `decode` returns.
    """

    max_bytes: int = 4 << 30
    max_pixels: int = 7680 * 4320
    max_frames: int = 216_000
    max_seconds: float = 7200.0
    max_output_bytes: int = 4 << 30

    def check(self, name: str, found: float, file: str, what: str, fix: str | None = None) -> None:
        """Raise `VideoTooLargeError` if `found` exceeds the limit called `name`.

        Args:
            name: an attribute of this class. what: the quantity in words, with its unit.
        """
        limit = getattr(self, name)
        if found > limit:
            raise VideoTooLargeError(
                f"a video is too large ({what})",
                file=file,
                found=f"{found:,.10g}",
                expected=f"at most {limit:,.10g} (Limits.{name})",
                fix=fix or f"Raise Limits({name}=…) if the file is meant to be this large",
            )
