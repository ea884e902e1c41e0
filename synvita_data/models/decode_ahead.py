"""Videos read in threads while the model works on those before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..errors import VideoError
from ..scoring.protocol import ScoringItem
from ..video import FramePolicy, Frames, MissingBackendError, decode

Item = TypeVar("Item")
Read = TypeVar("Read")


def decode_ahead(
    items: Iterable[ScoringItem], policy: FramePolicy, workers: int
) -> Iterator[tuple[ScoringItem, Frames | VideoError]]:
    """Items in order with their frames, or why a video cannot be read."""
    return read_ahead(items, lambda item: decode(item.video, policy, start=item.start, end=item.end), workers)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], workers: int
) -> Iterator[tuple[Item, Read | VideoError]]:
    """Items in order with what `read` makes of them, at most `2 * workers` ahead of the one in hand.

    Args:
        read: called in threads. A `VideoError` of it is handed on in its place, but for a decoder that is
            missing, which is the machine's fault and not the video's; other exceptions end the stream.
    """

    def attempt(item: Item) -> Read | VideoError:
        try:
            return read(item)
        except MissingBackendError:
            raise
        except VideoError as error:
            return error

    waiting: deque[tuple[Item, Future[Read | VideoError]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append((item, pool.submit(attempt, item)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:  # also when the caller stops early
        pool.shutdown(cancel_futures=True)
