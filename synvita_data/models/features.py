"""Features of videos kept on the store, so that neither decoder nor vision tower runs twice on a video.

Worth it when a video is scored again with other texts, prompts or adapters. Keys are the video's bytes, its time
range, the frame policy (and the versions of its rules where they matter), the tower (model revision, family, dtype),
the preprocessing, whether the video is mirrored, the control, and the text by which the prompt joins frames. When the
cache is full it keeps what it has: a run over more videos than fit finds the first ones again, where dropping the
oldest would find none.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import OTHER_FORM, StoreError, of_type
from ..files import sha256_file
from ..jobs import Store, work_key
from ..video.controls import Control
from ..video.rules import rule_versions
from ..video.sampling import FramePolicy
from .families.family import PreparedVideo
from .released.weights import save_tensors
from .strategies import EncodedVideo

if TYPE_CHECKING:
    from .alignment import AlignmentModel

FILE = "features.safetensors"
_INPUT = "input."
_FEATURE = "feature."


class VideoPart(Protocol):
    """A video, or the part of it between two times in seconds, and its id: a `videos.Clip`, a `ScoringItem`."""

    @property
    def video(self) -> Path | bytes: ...

    @property
    def start(self) -> float | None: ...

    @property
    def end(self) -> float | None: ...

    @property
    def video_id(self) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class KnownVideo:
    """A video as scoring needs it.

    Attributes:
        video: ready for the model.
        frames: the record of its frames (`Frames.record`, without the source).
        key: to keep its features by; None where there is no cache, or where it has them.
    """

    video: EncodedVideo
    frames: dict[str, Any]
    key: str | None = None


class FeatureCache:
    """Features in a folder, shared by any number of processes and models.

    Args:
        root: the folder.
        tower: all that features depend on but the video, JSON-ready.
        keep_inputs: `Family.cache_inputs`.
        max_bytes: stop adding at this size; several processes may overshoot by a hundredth each.
        reads_times: `Family.reads_times`.
    """

    def __init__(
        self,
        root: Path,
        tower: dict[str, Any],
        keep_inputs: tuple[str, ...] = (),
        max_bytes: int = 100 << 30,
        *,
        reads_times: str | None = None,
    ) -> None:
        self._store = Store(root, sync="never")  # a lost file is computed again
        self._tower = tower
        self._frames = FramePolicy.from_dict(tower.get("frames", {}))
        self._reads_times = reads_times
        self._keep = keep_inputs
        self._max_bytes = max_bytes
        self._bytes: int | None = None
        self._since = 0

    @classmethod
    def of(
        cls,
        model: "AlignmentModel",
        revision: str,
        root: str | Path,
        *,
        frames: FramePolicy | None = None,
        max_bytes: int = 100 << 30,
        merge: str = "none",
    ) -> "FeatureCache":
        """The cache of a model's features; an adapter that leaves the tower as it was uses those of its base.

        Args:
            model: whose features.
            revision: of the model, as `load_alignment_model` gives it.
            root: the folder.
            frames: None for the family's own.
            max_bytes: stop adding at this size.
            merge: of `loading.MERGES`; weights that went through float16 give other features, and what an adapter
                touched cannot be seen any more.
        """
        family = model.family
        adapted = merge == "float16" or any("lora_" in name for name, _ in family.tower_parameters())
        identity = tower_identity(
            revision if adapted else revision.partition("+")[0],
            family.model_type,
            family.model.dtype,
            frames or family.default_frames(),
            model.prompt.joiner,
        )
        # Features that were made without these keep their keys.
        if family.preprocess != "processor":
            identity["preprocess"] = family.preprocessing
        if merge == "float16":
            identity["merge"] = merge
        return cls(Path(root), identity, family.cache_inputs, max_bytes, reads_times=family.reads_times)

    def key(self, item: VideoPart, *, mirrored: bool = False) -> str:
        """The cache's name of an item's frames, or of their mirror images; reads the whole file."""
        return self.keys(item, (mirrored,))[mirrored]

    def keys(
        self, item: VideoPart, mirrored: Iterable[bool], *, control: Control | None = None
    ) -> dict[bool, str]:
        """`key` of the frames (false), of their mirror images (true) or of both; reads the whole file once.

        Args:
            item: the video.
            mirrored: which sides.
            control: what is taken away from the video; features under one are never those of another or of none.
        """
        if isinstance(item.video, bytes):
            content = hashlib.sha256(item.video).hexdigest()
        else:
            content = sha256_file(item.video)
        rules = rule_versions(item.video, self._frames, item.start, item.end, reads_times=self._reads_times)
        own = {"video": content, "start": item.start, "end": item.end, "tower": self._tower, **rules}
        if control is not None:
            own["control"] = control.settings_of(item.video_id)
        return {side: work_key(**own, **({"mirrored": True} if side else {})) for side in mirrored}

    def __contains__(self, key: str) -> bool:
        """Whether a video's features are kept, whole by their size; reads none of them."""
        return self._store.record(key) is not None

    def get(self, key: str) -> KnownVideo | None:
        """What is kept of a video; tensors are on the CPU."""
        record = self._store.record(key)
        if record is None:
            return None
        try:
            tensors = load_file(record.path(FILE))
        except (OSError, SafetensorError):  # taken away meanwhile, or damaged: compute it again
            return None
        inputs = {name[len(_INPUT) :]: t for name, t in tensors.items() if name.startswith(_INPUT)}
        features = {name[len(_FEATURE) :]: t for name, t in tensors.items() if name.startswith(_FEATURE)}
        try:
            runs = tuple(of_type(run, int) for run in record.fields["runs"])
            prepared = PreparedVideo(inputs, of_type(record.fields["placeholder"], str), runs)
            return KnownVideo(EncodedVideo(prepared, features), of_type(record.fields["frames"], dict))
        except OTHER_FORM:  # a damaged record
            return None

    def put(self, key: str, known: KnownVideo) -> bool:
        """Keep a video's features; False when the cache is full, or another process keeps them already."""
        features = known.video.features or {}
        prepared = known.video.prepared
        tensors = {_FEATURE + name: value for name, value in features.items()}
        tensors |= {_INPUT + name: prepared.inputs[name] for name in self._keep}
        size = sum(tensor.nbytes for tensor in tensors.values())
        if self._size() + size > self._max_bytes:
            return False
        claim = self._store.claim(key)
        if claim is None:
            return False
        with claim:
            save_tensors(
                {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, claim.path(FILE)
            )
            claim.commit(
                {"placeholder": prepared.placeholder, "runs": list(prepared.runs), "frames": known.frames}
            )
        self._since += size
        return True

    def close(self) -> None:
        """Stop the store's heartbeat."""
        self._store.close()

    def _size(self) -> int:
        """Bytes of the cache; looked up again after each hundredth of the bound, for others write too."""
        if self._bytes is None or self._since > self._max_bytes // 100:
            self._store.tidy()
            try:
                self._bytes = sum(path.stat().st_size for path in self._store.root.glob(f"??/*.{FILE}"))
            except OSError as error:
                raise StoreError("the feature cache cannot be read", file=self._store.root) from error
            self._since = 0
        return self._bytes + self._since


def tower_identity(
    revision: str, family: str, dtype: torch.dtype, frames: Any, joiner: str | None
) -> dict[str, Any]:
    """What features depend on besides the video, for `FeatureCache`."""
    return {
        "model": revision,
        "family": family,
        "dtype": str(dtype),
        "frames": frames.to_dict(),
        "joiner": joiner,
    }
