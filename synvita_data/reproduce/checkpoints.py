"""The checkpoints of a table: fetched at their commits, converted once, and kept in OUT/checkpoints."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import StoreError, SynvitaError
from ..files import read_json, snapshot_commit, write_atomic
from ..jobs import Store
from ..models.resolve import ModelFiles
from .expected import AS_IT_IS, CheckpointSource, Expected

FOLDER = "checkpoints"
PINS = "pins.json"
LOCAL = "local"  # in place of a commit, for a folder of this machine


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row's checkpoint, ready to be opened.

    Attributes:
        model: folder of the whole model.
        adapter: folder of the adapter that goes on it; None for a whole model.
        commits: repository -> commit (`local` for a folder of this machine), the base first.
    """

    model: Path
    adapter: Path | None
    commits: Mapping[str, str]


@dataclass
class Checkpoints:
    """All checkpoints below one output folder.

    Attributes:
        expected: which there are.
        out: the output folder.
        say: takes lines on the progress.
    """

    expected: Expected
    out: Path
    say: Callable[[str], None] = lambda line: None
    _failed: dict[str, SynvitaError] = field(default_factory=dict)
    _ready: dict[str, Path] = field(default_factory=dict)

    def revision(self, source: CheckpointSource) -> str | None:
        """The commit to take: the file's, or the one that this output folder took before; None where neither is known."""
        return source.revision or self._pins().get(source.repository)

    def commits(self, row: str) -> dict[str, str] | None:
        """Repository -> commit of all that a row needs, the base first; None where one is not known yet, or there is
        no checkpoint."""
        found: dict[str, str] = {}
        for name in self.expected.needs(row):
            source = self.expected.checkpoints[name]
            commit = LOCAL if Path(source.repository).is_dir() else self.revision(source)
            if commit is None:
                return None
            found[source.repository] = commit
        return found or None

    def converted(self, name: str) -> Path | None:
        """The converted folder; None where it is still to be made."""
        source = self.expected.checkpoints[name]
        commit = LOCAL if Path(source.repository).is_dir() else self.revision(source)
        if source.convert == AS_IT_IS:
            return None
        place = None if commit is None else self._place(name, commit)
        return place if place is not None and place.is_dir() else None

    def prepare(self, row: str) -> Prepared:
        """Fetch and convert what a row needs and is not there yet.

        Raises:
            SynvitaError: it cannot be fetched or converted; said again at once for another row with the same base.
        """
        folders = {name: self._one(name) for name in self.expected.chain(row)}
        commits = self.commits(row)
        assert commits is not None
        model, *adapter = folders.values()
        return Prepared(model, adapter[0] if adapter else None, commits)

    def _one(self, name: str) -> Path:
        if name in self._failed:
            raise self._failed[name]
        if name not in self._ready:
            try:
                self._ready[name] = self._make(name)
            except SynvitaError as error:
                self._failed[name] = error
                raise
        return self._ready[name]

    def _make(self, name: str) -> Path:
        source = self.expected.checkpoints[name]
        # A killed run may have left it half made; its commit must be known before it can be asked for.
        if (there := self.converted(name)) is not None and self._towers_are_pinned(source):
            return there
        beside = {
            part: self._one(other)
            for part, other in (("base", source.base), ("towers", source.towers))
            if other is not None
        }
        revision = self.revision(source)
        self.say(f"{name}: fetching {source.repository}" + (f" at {revision[:12]}" if revision else ""))
        files = ModelFiles(source.repository, revision)
        folder = files.snapshot(source.files)
        commit = LOCAL if files.folder is not None else _commit_of(folder, source.repository)
        if commit != LOCAL and source.revision is None:
            self._pin(source.repository, commit)
        if source.convert == AS_IT_IS:
            return folder
        place = self._place(name, commit)
        with _Turn(self.out / FOLDER, name):
            if not place.is_dir():
                self.say(f"{name}: converting ({source.convert})")
                convert(source.convert, folder, place, **beside, say=self.say)
        return place

    def _towers_are_pinned(self, source: CheckpointSource) -> bool:
        towers = None if source.towers is None else self.expected.checkpoints[source.towers]
        return towers is None or self.revision(towers) is not None or Path(towers.repository).is_dir()

    def _place(self, name: str, commit: str) -> Path:
        if commit == LOCAL:
            folder = Path(self.expected.checkpoints[name].repository).resolve()
            commit = f"{LOCAL}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        return self.out / FOLDER / f"{name}-{commit[:14]}"

    def _pins(self) -> dict[str, str]:
        path = self.out / FOLDER / PINS
        return (
            {str(key): str(value) for key, value in read_json(path, "pinned commits").items()}
            if path.is_file()
            else {}
        )

    def _pin(self, repository: str, commit: str) -> None:
        pins = self._pins() | {repository: commit}
        write_atomic(self.out / FOLDER / PINS, json.dumps(pins, indent=1, sort_keys=True) + "\n")


def _commit_of(folder: Path, repository: str) -> str:
    commit = snapshot_commit(folder)
    if commit is None:
        raise SynvitaError("the commit of a repository is not known", file=repository, found=folder.name)
    return commit


class _Turn:
    """The right to convert a checkpoint, which one process has at a time; what a killed one left is removed.

    Raises:
        StoreError: another process is converting it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._store = Store(folder / ".claims")
        self._claim = self._store.claim(name)
        if self._claim is None:
            self._store.close()
            raise StoreError(
                "another process is converting this checkpoint",
                file=folder / name,
                fix="Wait for it, and run the command again: what is done is kept",
            )
        self._store.tidy()
        for leftover in folder.glob(f".part-*-{name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if self._claim is not None:
            self._claim.release()
        self._store.close()


def convert(
    kind: str,
    source: Path,
    out: Path,
    *,
    base: Path | None = None,
    towers: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """What `synvita convert KIND` does.

    Args:
        kind: of `expected.CONVERSIONS`.
        source: the folder as released.
        out: the folder to make.
        base: converted, for an adapter.
        towers: folder of a video tower, for a Video-LLaVA.
        say: takes lines on the progress.

    Raises:
        SynvitaError: as of the conversion.
    """
    if kind == "mplug-owl":
        from ..models.mplug_owl.convert import convert_mplug_owl

        convert_mplug_owl(source, out, say=say)
    elif kind == "mplug-owl-lora":
        from ..models.mplug_owl.lora_checkpoint import convert_lora

        assert base is not None
        convert_lora(source, out, base, say=say)
    elif kind == "video-llava":
        from ..models.video_llava_original.convert import convert_video_llava

        convert_video_llava(source, out, towers=towers, say=say)
    else:
        from ..models.video_llava_original.lora import convert_video_llava_lora

        assert base is not None
        convert_video_llava_lora(source, out, base, say=say)
