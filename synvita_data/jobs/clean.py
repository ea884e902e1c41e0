"""Remove what killed workers left behind, beside workers that live."""
# ruff: noqa: PTH106, PTH208
# Plain strings and system calls, as in the rest of the store.

import contextlib
import os
import shutil
from collections.abc import Callable

from ..errors import StoreError
from .lease import Liveness, Owner, release
from .names import CLAIM, OWNERS
from .records import load, parse
from .scan import every, looks_whole, remove_results, token_in


def clean(owner: Owner, stale_after: float, acquire: Callable[[str], tuple[str, bool] | None]) -> int:
    """See `Store.clean_temporary`; `acquire` claims a digest and gives its token's path."""
    root, myself = owner.root, owner.name
    liveness = Liveness(root, stale_after, myself)
    removed = 0
    for digest, found in every(root):
        if found.claim:
            removed += _clean_claim(f"{root}/{digest[:2]}/{digest}.{CLAIM}", liveness)
        # Files come before their record, so files without one may be those of a commit under way:
        # only who holds the claim may take them.
        whole = not found.artefacts or looks_whole(root, digest, found, sizes=False)
        if not whole and (taken := acquire(digest)) is not None:
            try:
                removed += _clean_files(root, digest)
            finally:
                owner.give_back(taken[0])
    # Last: a dead owner's folder tells how long it has been silent, which its claims are judged by.
    for name in _names(f"{root}/{OWNERS}"):
        folder = f"{root}/{OWNERS}/{name}"
        if liveness.is_dead(name, folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _clean_claim(claim: str, liveness: Liveness) -> int:
    token = token_in(claim)
    if token is None:  # its owner was killed between the two steps of a release
        with contextlib.suppress(OSError):
            os.rmdir(claim)
            return 1
    elif liveness.is_dead(token, f"{claim}/{token}"):
        return int(release(f"{claim}/{token}"))
    return 0


def _clean_files(root: str, digest: str) -> int:
    kept: set[str] = set()
    if (loaded := load(root, digest)) is not None:
        kept.add(loaded[0].rpartition("/")[2])  # even a damaged record says why its key is to be done again
        with contextlib.suppress(StoreError):
            kept |= {artefact.path.name for artefact in parse(*loaded).artefacts.values()}
    return remove_results(root, digest, kept)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
