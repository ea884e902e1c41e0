"""Several folders of real videos as one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import SynvitaError
from .find import RealVideo, RealVideos
from .names import normal_source


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of real videos.

    Attributes:
        folder: on this machine.
        source: the dataset whose videos it holds, and no other's; None where its folders' names say that.
    """

    folder: Path
    source: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Root":
        """`DIR`, or `SOURCE=DIR` such as `ssv2=/data/20bn`; a folder that is there is never cut at its `=`."""
        source, equals, folder = text.partition("=")
        if not equals or Path(text).expanduser().is_dir():
            return cls(Path(text).expanduser())
        return cls(Path(folder).expanduser(), normal_source(source))


class RealVideoRoots:
    """What `RealVideos` is for one folder, for several: the first that has a video gives it.

    A bare number is nobody's own name: with several folders it is found only below one that is named after its
    source, or was given as `SOURCE=DIR`.

    Args:
        roots: the folders, in the order in which they are asked.
        source: of the videos to look for, where all are of one; a single folder is then taken to hold them.

    Raises:
        SourceError: a folder does not exist.
    """

    def __init__(self, roots: Iterable[Root], *, source: str | None = None) -> None:
        known = list(roots)
        self._parts = [
            (
                root.source,
                RealVideos(root.folder, source=root.source or (source if len(known) == 1 else None)),
            )
            for root in known
        ]
        self.roots = tuple(part.root for _, part in self._parts)

    def find(self, source: str, video_id: str, **handles: object) -> RealVideo | None:
        """The file of one video, as `RealVideos.find`.

        Args:
            source: dataset of the video.
            video_id: its id there.
            handles: videopath, youtube_key, start, end.
        """
        for own, part in self._parts:
            if own in (None, source) and (found := part.find(source, video_id, **handles)) is not None:  # type: ignore[arg-type]
                return found
        return None

    @property
    def problems(self) -> list[SynvitaError]:
        """What kept files from being used, of all folders."""
        return [error for _, part in self._parts for error in part.problems]

    @property
    def doubts(self) -> list[SynvitaError]:
        """Files that are not as long as their names promise, of all folders."""
        return [error for _, part in self._parts for error in part.doubts]
