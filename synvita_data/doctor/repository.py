"""One model or dataset, in a folder or on the Hub: what a command would fetch of it, and who may.

`look_at` asks the Hub one question (and reads `config.json` where the Hub does not repeat it); without the Hub it says
what this machine's cache holds, and what was recorded in `hub.known`. No weights are read, only headers of local files.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import HubError, SynvitaError
from ..files import read_json
from ..hub.known import KnownRepository, known
from ..models.download import weight_names
from ..models.resolve import CONFIG
from ..shipped import shipped_folder
from .hub import HubQuestions, as_object, cached_file, cached_snapshot, is_repository_name
from .wanted import (
    BYTES,
    MODEL_INDEX,
    WEIGHTS,
    Wanted,
    lacking_weights,
    main_dtype,
    missing_shards,
    model_files,
    read_weight_files,
)

Kind = Literal["model", "dataset"]
Origin = Literal["hub", "cache", "known", "folder", "shipped", "nothing"]

_SHORT_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A file that a command reads.

    Attributes:
        path: in the repository or folder.
        size: bytes; None where nobody says.
        here: whether it is on this machine, whole.
    """

    path: str
    size: int | None
    here: bool


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What is known of a model or dataset before it is loaded.

    Attributes:
        name: as it was asked for.
        kind: `model` or `dataset`.
        origin: who said so: the Hub; this machine's cache; `hub.known`, recorded at its date; the folder itself; the
            folder of a model that comes with the package (`shipped`); nobody.
        revision: that was asked for.
        commit: 40 hex digits where it is known, None for a folder.
        files: that a command would read.
        faults: what is wrong with them: missing shards, cut files, pointers of Git LFS.
        gated: whether its authors must grant access; `access` is False where the Hub refused it.
        access: whether its files may be fetched with the token of this machine; None where that was not tried.
        private, disabled: on the Hub; None where it was not asked.
        renamed_to: its name today, where another was asked for.
        licence: as its card says; None where nothing does.
        model_type: of its `config.json`.
        dtype: of most weights as they are stored, by torch's name.
        parameters: numbers of all weights.
        problem: why it cannot be used.
        unasked: why the Hub was not asked; None where it was, and for folders.
        recorded_bytes: what `hub.known` says a command fetches, where no file list is known.
    """

    name: str
    kind: Kind
    origin: Origin
    revision: str | None = None
    commit: str | None = None
    files: tuple[NeededFile, ...] = ()
    faults: tuple[str, ...] = ()
    gated: bool | None = None
    access: bool | None = None
    private: bool | None = None
    disabled: bool | None = None
    renamed_to: str | None = None
    licence: str | None = None
    model_type: str | None = None
    dtype: str | None = None
    parameters: int | None = None
    problem: SynvitaError | None = None
    unasked: str | None = None
    recorded_bytes: int | None = None

    @property
    def bytes(self) -> int:
        """All that a command reads of it, as far as sizes are known."""
        listed = sum(file.size or 0 for file in self.files)
        return max(listed, self.recorded_bytes or 0)

    @property
    def bytes_here(self) -> int:
        """What of that is on this machine."""
        return sum(file.size or 0 for file in self.files if file.here)

    @property
    def bytes_to_fetch(self) -> int:
        """What a command would download; 0 for a folder."""
        return 0 if self.origin in ("folder", "shipped") else max(self.bytes - self.bytes_here, 0)

    @property
    def paths(self) -> frozenset[str]:
        """Of the files that a command reads."""
        return frozenset(file.path for file in self.files)

    def to_record(self) -> dict[str, Any]:
        """JSON-ready, without the single files."""
        record = asdict(replace(self, files=(), problem=None))
        return record | {
            "files": len(self.files),
            "faults": list(self.faults),
            "bytes": self.bytes,
            "bytes_here": self.bytes_here,
            "bytes_to_fetch": self.bytes_to_fetch,
            "problem": None if self.problem is None else str(self.problem),
        }


def look_at(
    name: str,
    revision: str | None = None,
    kind: Kind = "model",
    *,
    hub: HubQuestions | None = None,
    wanted: Wanted | None = None,
) -> RepositoryFacts:
    """What is known of a model or dataset, without loading it.

    Args:
        name: a folder, or a Hub id.
        revision: commit, tag or branch on the Hub; None for its default branch.
        kind: `model` or `dataset`.
        hub: to share answers, and that nobody answers, with other looks; None makes one.
        wanted: which of its files a command reads; None for what the loaders of transformers, diffusers and PEFT
            take of a model, and for all files of a dataset.

    Raises:
        Nothing: what is wrong is in `problem` and `faults`.
    """
    choose = wanted or (model_files if kind == "model" else tuple)
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # `~user` of nobody here
        folder = Path(name)
    if folder.is_dir():
        return look_at_folder(folder, name, kind, choose)
    if kind == "model" and (own := shipped_folder(name)) is not None:
        return replace(look_at_folder(own, name, kind, choose), origin="shipped")
    hub = hub or HubQuestions()
    facts = RepositoryFacts(name, kind, "nothing", revision)
    if not is_repository_name(name):
        problem = HubError("there is no such folder", file=name, expected=f"a folder, or a {kind} of the Hub")
        return replace(facts, problem=problem)
    try:
        info = hub.info(name, revision, kind)
    except HubError as error:
        return _with_known(_of_cache(replace(facts, problem=error), choose))
    if info is None:
        return _without_hub(replace(facts, unasked=hub.out_of_reach), choose)
    # What the Hub's answer says.
    commit, card = str(info.sha), info.card_data.to_dict() if info.card_data else {}
    sizes = {each.rfilename: each.size for each in info.siblings or ()}
    chosen = sorted(choose(sorted(sizes)))
    lost = [f"{shard} is not in the repository" for shard in missing_shards(chosen)]
    facts = replace(
        facts,
        origin="hub",
        commit=commit,
        files=tuple(
            NeededFile(path, sizes[path], _is_cached(facts, path, commit, sizes[path])) for path in chosen
        ),
        faults=(*lost, *_lacking(chosen, choose)),
        gated=bool(info.gated),
        private=bool(info.private),
        disabled=bool(info.disabled),
        renamed_to=str(info.id) if str(info.id).lower() != name.lower() else None,
        licence=_licence(card, info.tags or ()),
    )
    if kind == "model":
        counts = dict(info.safetensors.parameters) if info.safetensors else {}
        facts = replace(facts, parameters=sum(counts.values()) or None, dtype=main_dtype(counts))
        facts = _from_config(facts, info.config or {})
    if facts.gated or (kind == "model" and facts.model_type is None):
        facts = _read_small_file(facts, hub)
    return _with_known(facts)


def _lacking(chosen: Sequence[str], choose: Wanted) -> list[str]:
    """What should have weights and has none, where all of a model is read."""
    return lacking_weights(chosen) if choose is model_files or MODEL_INDEX in chosen else []


def _read_small_file(facts: RepositoryFacts, hub: HubQuestions) -> RepositoryFacts:
    """What `config.json` says where the Hub does not repeat it, and whether files of a gated repository may be read."""
    file = CONFIG if facts.kind == "model" else "README.md"
    try:
        text = hub.read_text(facts.name, file, facts.commit, facts.kind)
    except HubError as error:
        return replace(facts, access=False, problem=error)
    if text is None:
        return facts
    facts = replace(facts, access=True if facts.gated else None)
    return _from_config(facts, as_object(text) or {}) if file == CONFIG else facts


def _from_config(facts: RepositoryFacts, config: dict[str, Any]) -> RepositoryFacts:
    model_type, dtype = config.get("model_type"), config.get("dtype") or config.get("torch_dtype")
    return replace(
        facts,
        model_type=facts.model_type or (str(model_type) if model_type is not None else None),
        dtype=facts.dtype or (dtype if dtype in BYTES else None),
    )


def _is_cached(facts: RepositoryFacts, path: str, commit: str, expected: int | None) -> bool:
    cached = cached_file(facts.name, path, commit, facts.kind)
    return cached is not None and expected in (None, cached.stat().st_size)


# -- without the Hub ---------------------------------------------------------------------------------------


def _without_hub(facts: RepositoryFacts, choose: Wanted) -> RepositoryFacts:
    """What the cache and the record say; a problem where both say nothing."""
    facts = _with_known(_of_cache(facts, choose))
    if facts.bytes_here:
        return facts
    problem = "the repository is not in the cache"
    if facts.origin == "nothing":
        problem = (
            "there is no such folder here, the cache has no such repository, and the Hub could not be asked"
        )
    of_kind = " --repo-type dataset" if facts.kind == "dataset" else ""
    named = f"{facts.name}{of_kind}" + (f" --revision {facts.revision}" if facts.revision else "")
    fix = f"Fetch it where there is a network: hf download {named}"
    return replace(facts, problem=HubError(problem, file=facts.name, found=facts.unasked, fix=fix))


def _of_cache(facts: RepositoryFacts, choose: Wanted) -> RepositoryFacts:
    """What a snapshot in this machine's cache holds; as it was where there is none."""
    recorded = known(facts.name)
    # It may be there by another name.
    names = [facts.name, *(() if recorded is None else (recorded.name, *recorded.former))]
    found = next(filter(None, (cached_snapshot(name, facts.revision, facts.kind) for name in names)), None)
    if found is None:
        return facts
    commit, folder = found
    seen = look_at_folder(folder, facts.name, facts.kind, choose)
    cut = seen.faults and facts.kind == "model"
    return replace(
        seen,
        origin="cache",
        revision=facts.revision,
        commit=commit,
        problem=facts.problem,
        unasked=facts.unasked,
        faults=tuple(f"{fault} (in the cache)" for fault in seen.faults) if cut else (),
    )


def _with_known(facts: RepositoryFacts) -> RepositoryFacts:
    """What was recorded of it, where nobody said better."""
    recorded = known(facts.name)
    if recorded is None or recorded.kind != facts.kind:
        return facts
    renamed = recorded.name if recorded.name.lower() != facts.name.lower() else None
    asked = facts.origin == "hub"
    facts = replace(
        facts,
        origin="known" if facts.origin == "nothing" else facts.origin,
        gated=recorded.gated if facts.gated is None else facts.gated,
        licence=facts.licence or recorded.licence,
        renamed_to=facts.renamed_to or (None if asked else renamed),
        recorded_bytes=None if asked else recorded.download,
    )
    if facts.kind == "dataset":
        return facts
    dtype = facts.dtype or _recorded_dtype(recorded)
    return replace(facts, dtype=dtype, parameters=facts.parameters or _estimated(facts, dtype))


def _recorded_dtype(recorded: KnownRepository) -> str | None:
    match = re.search(r"\b(bf16|fp16|fp32)\b", recorded.weights or "")
    return None if match is None else _SHORT_DTYPES[match[1]]


def _estimated(facts: RepositoryFacts, dtype: str | None) -> int | None:
    """Parameters by the bytes of weight files, which hold little else."""
    weights = sum(file.size or 0 for file in facts.files if Path(file.path).suffix in WEIGHTS)
    total = max(weights, facts.recorded_bytes or 0)
    return total // BYTES[dtype] if dtype in BYTES and total else None


# -- a folder ----------------------------------------------------------------------------------------------


def look_at_folder(folder: Path, name: str, kind: Kind, choose: Wanted) -> RepositoryFacts:
    """What a folder holds: files, whether they are whole, what the headers of weights say.

    Args:
        folder: that is there.
        name: by which it was asked for.
        kind: `model` or `dataset`.
        choose: which of its files a command reads.
    """
    sizes = dict(_files_of(folder))
    chosen = sorted(choose(sorted(sizes)))
    files = tuple(NeededFile(path, sizes[path], True) for path in chosen)
    facts = RepositoryFacts(name, kind, "folder", files=files, licence=_card_licence(folder))
    if kind == "dataset":
        return facts
    # Weights: which are promised, and whether those that are there are whole.
    weights = read_weight_files(folder / path for path in chosen)
    facts = replace(facts, parameters=weights.parameters, dtype=weights.dtype)
    promised = set(missing_shards(chosen))
    try:
        if CONFIG in sizes and choose is model_files:
            promised |= set(weight_names(lambda file: folder / file if file in sizes else None))
        config = read_json(folder / CONFIG, "a model's settings") if CONFIG in sizes else {}
    except SynvitaError as error:
        return replace(facts, faults=tuple(weights.faults), problem=error)
    lost = [f"{shard} is missing" for shard in sorted(promised - set(sizes))]
    facts = replace(facts, faults=(*lost, *weights.faults, *([] if lost else _lacking(chosen, choose))))
    facts = _from_config(facts, config)
    return replace(facts, parameters=facts.parameters or _estimated(facts, facts.dtype))


def _files_of(folder: Path, deepest: int = 4) -> Iterable[tuple[str, int]]:
    """Files below a folder with their bytes; hidden ones and checkpoints of a trainer are passed over."""
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        try:
            entries = sorted(here.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith(".") or (depth == 0 and entry.name.startswith("checkpoint-")):
                continue
            if entry.is_dir():
                if depth < deepest:
                    waiting.append((entry, depth + 1))
            elif entry.is_file():
                yield entry.relative_to(folder).as_posix(), entry.stat().st_size


def _card_licence(folder: Path) -> str | None:
    """The licence that a folder's card names; None where it has none that can be read."""
    from ..hub.card import read_card

    card = folder / "README.md"
    if not card.is_file():
        return None
    try:
        return _licence(read_card(card.read_text(encoding="utf-8"), file=str(card)).data.to_dict(), ())
    except (OSError, UnicodeDecodeError, SynvitaError):
        return None


def _licence(card: dict[str, Any], tags: Sequence[str]) -> str | None:
    """The licence that a card names, or a tag of the Hub."""
    found = card.get("license") or next(
        (tag.partition(":")[2] for tag in tags if tag.startswith("license:")), None
    )
    named = card.get("license_name")
    if isinstance(found, list):
        found = ", ".join(map(str, found))
    if found is None:
        return None
    return f"{found} ({named})" if named and found == "other" else str(found)
