"""From the name of a model to what it is and where its files are: the one place that reads such names.

A name is a folder or the Hub id of a repository, maybe with `@REVISION` behind it, the name of a model that comes with
the package (`shipped`), or a short name that a command knows (`aliases`). What it names is a whole model, by the `model_type` of its `config.json`, or an adapter of PEFT
whose settings name its base. Nothing here needs torch, and only the files that are asked for are downloaded.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..captions.prompts import PLACEHOLDER_SPACES, PROMPTS
from ..errors import HubError, SynvitaError, first_line
from ..files import read_json, sha256_file, snapshot_commit
from ..hub.known import canonical, held, pinned
from ..hub.problems import HubRequest, HubUnreachableError, downloading
from ..hub.reach import note_from_cache, offline, out_of_reach, say_if_renamed, transport
from ..shipped import SHIPPED, shipped_folder
from ..video.preprocessing import PREPROCESSES
from .released import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TRAINING_ARGUMENTS

CONVERT_LORA = (
    "`synvita convert video-llava-lora DIR OUT --base BASE` makes an adapter of it (docs/video_llava.md)"
)
# What LLaVA's trainer and peft 0.4 leave beside, or in place of, safetensors.
LLAVA_ADAPTER = ("adapter_model.bin", "non_lora_trainables.bin")
_NOT_FOUND = "the model cannot be found"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model, in a folder or in a repository of the Hub.

    Attributes:
        location: the folder, the Hub id, or the name of a model that comes with the package.
        revision: commit, tag or branch on the Hub; None for its default, and for a folder.
        also: other names that would have been understood, for errors.
    """

    location: str
    revision: str | None = None
    also: Collection[str] = ()

    @property
    def folder(self) -> Path | None:
        """The folder; None for a repository of the Hub."""
        path = Path(self.location)
        return path if path.is_dir() else shipped_folder(self.location)

    @property
    def source(self) -> str:
        """What `from_pretrained` takes: the location, or the folder of a model that comes with the package."""
        return str(shipped_folder(self.location) or self.location)

    def find(self, file: str) -> Path | None:
        """A file by its name, downloaded if it has to be; None where the model has no such file.

        Raises:
            HubError: the Hub cannot be asked, or there is no such folder or repository.
        """
        if self.folder is not None:
            path = self.folder / file
            return path if path.is_file() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        with self._asking() as cached_only:
            try:
                return Path(
                    hf_hub_download(self.location, file, revision=self.revision, local_files_only=cached_only)
                )
            except LocalEntryNotFoundError:  # the Hub cannot be asked
                raise
            except EntryNotFoundError:
                return None
            except transport().TransportError:  # of a connection that breaks it makes no use of its cache
                if (kept := self.cached(file)) is None:
                    raise
                return kept

    @contextmanager
    def _asking(self) -> Iterator[bool]:
        """Around a download: whether only the cache is to be used; what goes wrong is said of this model."""
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        with downloading(self._request):
            broken = out_of_reach(self.location)
            try:
                yield broken is not None or offline()
            except LocalEntryNotFoundError:
                if broken is None:
                    raise
                raise broken from None
            except HFValidationError as error:  # not a name of the Hub
                raise self.not_found(first_line(error)) from error
            if broken is not None:
                note_from_cache(self.location)

    def cached(self, file: str) -> Path | None:
        """A file by its name if it is on this machine; nothing is downloaded."""
        if self.folder is not None:
            return self.find(file)
        from huggingface_hub import try_to_load_from_cache

        with suppress(ValueError):  # not a name of the Hub
            path = try_to_load_from_cache(self.location, file, revision=self.revision)
            return Path(path) if isinstance(path, str) and Path(path).is_file() else None
        return None

    def find_if_there(self, file: str) -> Path | None:
        """As `find`; also None where the Hub cannot be asked and the file is not cached.

        A cache does not know which files a repository lacks, unless they were asked for one by one.
        """
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return self.find(file)
        except HubError as error:
            unasked = isinstance(error, HubUnreachableError) or isinstance(
                error.__cause__, LocalEntryNotFoundError
            )
            if unasked and (offline() or self.cached(CONFIG) is not None):
                return None
            raise

    def read(self, file: str) -> dict[str, Any] | None:
        """A JSON file of the model; None where there is none.

        Raises:
            SynvitaError: it is not a JSON object. HubError: as for `find`.
        """
        path = self.find(file)
        return None if path is None else read_json(path, "a model's settings")

    def model_type(self) -> str | None:
        """`model_type` of its `config.json`; None where there is no such file or entry."""
        found = (self.read(CONFIG) or {}).get("model_type")
        return None if found is None else str(found)

    def snapshot(self, patterns: Iterable[str] | None = None, ignored: Iterable[str] | None = None) -> Path:
        """A folder with the files that fit these patterns; of a local folder, itself.

        Args:
            patterns: as of a shell; None for all files.
            ignored: patterns of files that are left out.

        Raises:
            HubError: the Hub does not know the model, or cannot be reached and the files are not cached.
        """
        if self.folder is not None:
            return self.folder
        from huggingface_hub import HfApi, snapshot_download

        wanted, unwanted = (None if each is None else list(each) for each in (patterns, ignored))
        with self._asking() as cached_only:
            if not cached_only:
                # Where this list does not come, snapshot_download takes what happens to be cached for the whole.
                HfApi().list_repo_files(self.location, revision=self.revision)
            folder = snapshot_download(
                self.location,
                revision=self.revision,
                allow_patterns=wanted,
                ignore_patterns=unwanted,
                local_files_only=cached_only,
            )
        return Path(folder)

    @property
    def _request(self) -> HubRequest:
        return HubRequest(self.location, missing=_NOT_FOUND, expected=self._expected, revision=self.revision)

    def exact_revision(self) -> str:
        """The Hub's commit, or a digest (16 hex digits) of the folder's files.

        The digest is over names and contents of all files of the folder itself and of
        `additional_chat_templates`, but for Markdown and hidden ones: checkpoints of a trainer, which lie in
        folders below, do not count.

        Raises:
            SynvitaError: the commit is not known.
        """
        if self.folder is not None:
            files = [*self.folder.iterdir(), *self.folder.glob("additional_chat_templates/*")]
            counted = [
                path
                for path in files
                if path.is_file() and not path.name.startswith(".") and path.suffix != ".md"
            ]
            return files_digest(self.folder, counted)
        commit = snapshot_commit(self.find(CONFIG) or Path())
        if commit is None:
            raise SynvitaError("the model's revision is not known", file=self.location, fix="Pass --revision")
        return commit

    def not_found(self, found: str) -> HubError:
        """The error that there is no such model."""
        return HubError(_NOT_FOUND, file=self.location, found=found.rstrip("."), expected=self._expected)

    @property
    def _expected(self) -> str:
        expected = [*self.also, f"a folder with a {CONFIG}", "a model of the Hub", "an adapter of PEFT"]
        return f"{', '.join(expected[:-1])} or {expected[-1]}"


def locate(name: str, revision: str | None = None, *, aliases: Mapping[str, str] | None = None) -> ModelFiles:
    """Where the files of a model are that a user names.

    A repository that was renamed may be called by either name. An alias stands for the commit that is recorded of
    its repository (`hub/known.py`), if one is; a Hub id for the newest commit of its default branch.

    Args:
        name: a folder, a Hub id or an alias; behind the last two may stand `@REVISION`.
        revision: commit, tag or branch on the Hub.
        aliases: short names with what they stand for.

    Raises:
        SynvitaError: a revision of a folder.
    """
    short, at, after = name.rpartition("@")
    if revision is None and at and short and not _at_home(name).is_dir():
        name, revision = short, after
    location = (aliases or {}).get(name, name)
    if revision is None and location != name:
        revision = pinned(location)
    if not Path(location).is_dir() and _at_home(location).is_dir():
        location = str(_at_home(location))  # other folders keep their name as it is: keys hold it
    if not Path(location).is_dir():
        location = held(location)
    if revision is not None and (Path(location).is_dir() or location in SHIPPED):
        raise SynvitaError(
            "a folder has no revisions"
            if Path(location).is_dir()
            else "a model that comes with the package has no revisions",
            file=location,
            found=revision,
            fix="Leave the revision out, or name the model by its Hub id",
        )
    return ModelFiles(location, revision, tuple(aliases or ()))


def _at_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # `~user` of nobody here
        return Path(name)


def refuse_llava_layout(files: ModelFiles, config: Mapping[str, Any] | None = None) -> None:
    """Complain about a folder in the layout of LLaVA's own code, which no loader here reads, with what to do.

    Its `config.json` says `llava`, which transformers takes for a model of its own, and an adapter may lie beside it.

    Args:
        files: of the model.
        config: its `config.json`, where it has been read.

    Raises:
        SynvitaError: it is such a folder.
    """
    config = files.read(CONFIG) if config is None else config
    if (config or {}).get("model_type") != "llava" or not any(
        str(name).startswith("mm_") for name in config or ()
    ):
        return
    assert config is not None
    try:  # of a repository only the small file is asked for
        adapter = any(files.find(name) for name in (ADAPTER_CONFIG, *(LLAVA_ADAPTER if files.folder else ())))
    except HubError:  # the Hub cannot be asked, and what is cached has no such file
        adapter = False
    video = "mm_video_tower" in config
    if adapter and video:
        fix = CONVERT_LORA
    elif video:
        fix = "`synvita convert video-llava DIR OUT` makes a model of it (docs/video_llava.md)"
    else:
        fix = "Take a repository of this model that transformers loads, such as llava-hf/llava-1.5-7b-hf"
    raise SynvitaError(
        f"{'an adapter' if adapter else 'a model'} in the layout of LLaVA's own code",
        file=files.location,
        found=f"{CONFIG} with model_type 'llava' and {'mm_video_tower' if video else 'mm_…'}"
        + (", with an adapter beside it" if adapter else ""),
        expected="a model as transformers saves it, or an adapter as PEFT does",
        fix=fix,
    )


def files_digest(root: Path, files: Iterable[Path], digest: Callable[[Path], str] = sha256_file) -> str:
    """16 hex digits over the names and contents of files.

    Args:
        root: folder that the names are relative to.
        files: below it, in any order.
        digest: SHA-256 of a file, in hex digits.
    """
    total = hashlib.sha256()
    for path in sorted(set(files)):
        total.update(f"{path.relative_to(root).as_posix()} {digest(path)}\n".encode())
    return total.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Video LLM to load, with the adapter that goes on it.

    Attributes:
        base: Hub id or folder of the whole model.
        revision: of `base` on the Hub.
        model_type: of the base.
        adapter: folder with the adapter's files, None without one.
        adapter_name: what the user called it.
        adapter_revision: digest of the adapter's weights and settings.
        trained_prompt: the wording that `SynViTATrainer` fine-tuned it with; None where that is not known, or was
            the family's own.
        trained_frames: the number of frames, in the same way.
        trained_space: its `placeholder_space`, None where that is not known.
        trained_preprocess: its `preprocess`, in the same way.
    """

    base: str
    revision: str | None
    model_type: str
    adapter: Path | None = None
    adapter_name: str | None = None
    adapter_revision: str | None = None
    trained_prompt: str | None = None
    trained_frames: int | None = None
    trained_space: str | None = None
    trained_preprocess: str | None = None


def find_checkpoint(
    name: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    adapter_revision: str | None = None,
    of_text: bool = False,
) -> Checkpoint:
    """What a name stands for: a whole model, or an adapter whose settings name its base.

    Args:
        name: Hub id or folder.
        revision: commit, tag or branch of `name` on the Hub.
        adapter: Hub id or folder of an adapter for `name`.
        adapter_revision: of it.
        of_text: a language model is looked for, and not a Video LLM.

    Raises:
        SynvitaError: neither a model nor an adapter is there, an adapter without safetensors or for another
            base.
    """
    files = locate(name, revision)
    config = files.read(CONFIG) or {}
    refuse_llava_layout(files, config)
    if (found := config.get("model_type")) is not None:
        say_if_renamed(files.location)
        base = Checkpoint(files.location, files.revision, str(found))
        if adapter is None:
            return replace(base, **_training_settings(files))
        own = locate(adapter, adapter_revision)
        refuse_llava_layout(own)
        return _with_adapter(base, own, base_is_named=True)
    settings = files.read(ADAPTER_CONFIG)
    if settings is None or adapter is not None:
        raise files.not_found(f"no {CONFIG}" + ("" if settings is None else f", but {ADAPTER_CONFIG}"))
    base_name, base_revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if files.folder and any((files.folder / name).is_file() for name in LLAVA_ADAPTER):
        raise SynvitaError(
            "an adapter in the layout of LLaVA's own code",
            file=name,
            found=f"{' and '.join(each for each in LLAVA_ADAPTER if (files.folder / each).is_file())}, for {base_name}",
            expected=f"{ADAPTER_WEIGHTS}, for a Video LLM",
            fix=CONVERT_LORA,
        )
    if base_name and not Path(str(base_name)).is_dir():
        base_name = held(str(base_name))
    model_type = ModelFiles(str(base_name), base_revision).model_type() if base_name else None
    if model_type is None:
        raise SynvitaError(
            "an adapter's base model cannot be found",
            file=name,
            found=repr(base_name),
            expected="a folder or a model of the Hub in base_model_name_or_path",
            fix="Name the base as MODEL and this as its adapter",
        )
    if model_type == "llama" and not of_text:
        raise SynvitaError(
            "an adapter of a language model, without its towers",
            file=name,
            found=f"base_model_name_or_path {base_name!r}, which sees no video",
            expected="a Video LLM as its base",
            fix=f"If it is a Video-LLaVA's: {CONVERT_LORA}",
        )
    say_if_renamed(str(base_name))
    return _with_adapter(Checkpoint(str(base_name), base_revision, model_type), files, base_is_named=False)


def _with_adapter(base: Checkpoint, files: ModelFiles, *, base_is_named: bool) -> Checkpoint:
    """The base with an adapter. A base that the user names may be a folder with what the adapter calls by a Hub id."""
    config, weights = files.find(ADAPTER_CONFIG), files.find(ADAPTER_WEIGHTS)
    if config is None or weights is None:
        raise SynvitaError(
            "the adapter cannot be found",
            file=files.location,
            found=f"no {ADAPTER_CONFIG if config is None else ADAPTER_WEIGHTS}",
            expected=f"{ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, as PEFT saves them",
        )
    say_if_renamed(files.location)
    trained_on = (files.read(ADAPTER_CONFIG) or {}).get("base_model_name_or_path")
    named = base_is_named and trained_on and not Path(base.base).is_dir()
    if named and not _same_repository(str(trained_on), base.base):
        raise SynvitaError(
            "an adapter is for another base model",
            file=files.location,
            found=f"trained on {trained_on}",
            expected=base.base,
            fix="Name the adapter alone: it knows its base",
        )
    return replace(
        base,
        adapter=weights.parent,
        adapter_name=files.location,
        adapter_revision=f"{sha256_file(config)[:8]}{sha256_file(weights)[:8]}",
        **_training_settings(files),
    )


def _same_repository(one: str, other: str) -> bool:
    """Whether two names are of one repository, as recorded or as the Hub says."""
    if canonical(one) == canonical(other):
        return True
    return say_if_renamed(one) == say_if_renamed(other)


def _training_settings(files: ModelFiles) -> dict[str, Any]:
    """What `SynViTATrainer` noted beside a model: scores with another wording are another model's scores."""
    try:
        noted = files.read(TRAINING_ARGUMENTS) or {}
    except SynvitaError:  # the Hub cannot be asked, and what is cached has no such file
        return {}
    return trained_settings(noted)


def trained_settings(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `training_args.json` that `Checkpoint` has, None for what is not there or not known here."""
    prompt, frames, space, preprocess = (
        noted.get(name) for name in ("prompt", "frames", "placeholder_space", "preprocess")
    )
    return {
        "trained_prompt": prompt if isinstance(prompt, str) and prompt in PROMPTS else None,
        "trained_frames": frames if type(frames) is int else None,
        "trained_space": space if space in PLACEHOLDER_SPACES else None,
        "trained_preprocess": preprocess if preprocess in PREPROCESSES else None,
    }
