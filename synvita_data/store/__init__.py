"""The store of every long job: which rows are done, by whom each other is being done, and which failed.

A worker asks for keys, claims one at a time, and commits the result:

    store = Store(out / ".work" / "vqascore")
    for claim in store.claims(keys):  # yields only what is neither done nor held by a live worker
        with claim:
            path = claim.path("video.mp4")  # a temporary place on the same file system
            ...  # write the file
            claim.commit({"frames": 49})  # files first, then the record: the record is the proof

Any number of threads, processes and machines may run this loop on one folder, be killed at any moment,
and be started again in other numbers. `docs/store.md` states what is promised and why it holds.

Standard library only: a scan of 100,000 keys comes before any heavy import.
"""

from .claim import Claim
from .names import work_key
from .records import Artefact, Failure, Record
from .scan import CLAIMED, DONE, PENDING, QUARANTINED, Scan
from .store import Store

__all__ = [
    "CLAIMED",
    "DONE",
    "PENDING",
    "QUARANTINED",
    "Artefact",
    "Claim",
    "Failure",
    "Record",
    "Scan",
    "Store",
    "work_key",
]
