"""A model that a user names: where it is, what must be fetched, its adapter and base, and what it will be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..captions.prompts import PROMPTS, Prompt, check_placeholder_space, get_prompt
from ..errors import CaptionError, SynvitaError, choose
from ..hub.known import canonical
from ..models.families import FAMILIES, get_family
from ..models.loading import MERGES
from ..models.processors import PREPROCESSOR, PROCESSOR, VIDEO_PREPROCESSOR
from ..models.resolve import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    CONVERT_LORA,
    TRAINING_ARGUMENTS,
    ModelFiles,
    locate,
    trained_settings,
)
from ..scoring.released import DEFAULTS, choose_options
from ..video.preprocessing import check_preprocess
from .report import Needs, size
from .repository import RepositoryFacts, look_at

if TYPE_CHECKING:
    from ..models.families.family import Family

_TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt"})
_TEMPLATES = frozenset({"chat_template.jinja", "chat_template.json"})
# Options that change a score, shown where they are not as by default.
_BESIDE = ("placeholder_space", "flips", "readout", "merge")
_NAME_BOTH = "Name the base as MODEL and this as its --adapter"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and what belongs to it.

    Attributes:
        base: the whole model.
        adapter: PEFT's, where there is one.
        family: of Video LLMs; None for other kinds.
        trained: what `synvita train` noted beside the model or adapter: `prompt`, `frames`, ….
        settings: its `config.json`; None where it could not be read.
    """

    base: RepositoryFacts
    adapter: RepositoryFacts | None = None
    family: "type[Family] | None" = None
    trained: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None


def find_model(
    needs: Needs,
    name: str,
    revision: str | None = None,
    *,
    adapter: str | None = None,
    adapter_revision: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> FoundModel | None:
    """Look at a model that a user names, and add what was found to `needs`; None where there is no model.

    Args:
        name: folder, Hub id or alias, maybe with `@REVISION`; of a whole model or of an adapter.
        revision: commit, tag or branch on the Hub.
        adapter: an adapter for `name`.
        adapter_revision: of it.
        aliases: short names that the command knows.
    """
    try:
        facts, own = _named(needs, name, revision, aliases), None
        if adapter is not None:
            own = _named(needs, adapter, adapter_revision)
    except SynvitaError as error:
        needs.failed("model", error)
        return None
    if facts.problem is not None and facts.origin == "nothing":
        add_repository(needs, facts, "model")
        return None
    if adapter is None and ADAPTER_CONFIG in facts.paths and CONFIG not in facts.paths:
        # An adapter alone names its base.
        own, base = facts, _base_of(needs, facts)
        if base is None:
            add_repository(needs, own, "adapter")
            return None
        facts = base
    add_repository(needs, facts, "model")
    if own is not None:
        add_repository(needs, own, "adapter")
        _check_adapter(needs, facts, own, named=adapter is not None)
    settings = read_settings(needs, facts, CONFIG)
    if facts.model_type is None and (settings or {}).get("model_type") is not None:
        facts = replace(facts, model_type=str((settings or {})["model_type"]))
    family = get_family(facts.model_type) if facts.model_type in FAMILIES else None
    trained = read_settings(needs, own or facts, TRAINING_ARGUMENTS)
    return FoundModel(facts, own, family, trained, settings)


def _named(
    needs: Needs, name: str, revision: str | None, aliases: Mapping[str, str] | None = None
) -> RepositoryFacts:
    files = locate(name, revision, aliases=aliases)
    return look_at(files.location, files.revision, hub=needs.hub)


def read_settings(needs: Needs, facts: RepositoryFacts, file: str) -> dict[str, Any] | None:
    """A JSON file of a repository or folder; None where it has none, or cannot be asked."""
    if facts.files and file not in facts.paths:
        return None
    files = ModelFiles(facts.name)
    try:
        if files.folder is not None:
            return files.read(file)
        return needs.hub.read_json(facts.name, file, facts.commit or facts.revision, facts.kind)
    except SynvitaError:  # said already, of the repository
        return None


def _base_of(needs: Needs, adapter: RepositoryFacts) -> RepositoryFacts | None:
    settings = read_settings(needs, adapter, ADAPTER_CONFIG) or {}
    name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(name, str) or not name:
        needs.bad("adapter", f"{adapter.name}: {ADAPTER_CONFIG} does not name its base model", _NAME_BOTH)
        return None
    base = _named(needs, name, revision if isinstance(revision, str) else None)
    if base.problem is not None and base.origin == "nothing":
        problem = f"its base model {name!r} cannot be found: {base.problem.problem}"
        needs.bad("adapter", problem, _NAME_BOTH)
        return None
    return base


def _check_adapter(needs: Needs, base: RepositoryFacts, adapter: RepositoryFacts, *, named: bool) -> None:
    """That PEFT can read it, and that it is for this base."""
    if adapter.files and ADAPTER_WEIGHTS not in adapter.paths:
        fix = "Convert it: `synvita convert` takes the released forms (docs/checkpoints.md)"
        needs.bad("adapter", f"{adapter.name} has no {ADAPTER_WEIGHTS}", fix)
    trained_on = (read_settings(needs, adapter, ADAPTER_CONFIG) or {}).get("base_model_name_or_path")
    same = canonical(str(trained_on)) == canonical(base.name)
    if named and trained_on and base.origin != "folder" and not same:
        fix = "Name the adapter alone: it knows its base"
        needs.bad("adapter", f"it was trained on {trained_on}, not on {base.name}", fix)


# -- what a repository says --------------------------------------------------------------------------------


def add_repository(needs: Needs, facts: RepositoryFacts, subject: str) -> None:
    """Add a model or dataset: whether it can be had, how large it is, and under which licence.

    Args:
        facts: of `look_at`.
        subject: what it is to the command: `model`, `adapter`, `data`, ….
    """
    needs.repositories.append(facts)
    if facts.problem is not None:
        needs.failed(subject, facts.problem)
    elif facts.faults:
        more = f"; and {len(facts.faults) - 3} more" if len(facts.faults) > 3 else ""
        fix = "Fetch or save it again" if facts.origin != "cache" else f"hf download {facts.name}"
        needs.bad(subject, f"{facts.name}: {'; '.join(facts.faults[:3])}{more}", fix)
    elif facts.disabled:
        needs.bad(subject, f"{facts.name} is disabled on the Hub")
    else:
        needs.ok(subject, described(facts))
    if facts.renamed_to is not None:
        text = f"{facts.name} is called {facts.renamed_to} today; the Hub still knows the old name"
        needs.warn(subject, text, f"Name {facts.renamed_to}")
    if facts.problem is not None or facts.origin in ("folder", "shipped"):
        return
    if facts.gated and facts.access:
        needs.ok(subject, f"{facts.name} is gated, and this token has access")
    elif facts.gated:
        text = f"{facts.name} is gated, {'a token is set' if needs.hub.has_token else 'no token is set'}"
        needs.warn(subject, text, "Accept its terms on its page, then log in with `hf auth login`")
    if facts.unasked is not None:
        said = "what follows is recorded" if facts.origin == "known" else "what is said is of the cache"
        needs.warn(subject, f"the Hub was not asked ({facts.unasked}): {said}")
    if facts.licence is None:
        needs.warn("licence", f"{facts.name}: none is stated", "Ask its authors before you publish")
    else:
        needs.ok("licence", f"{facts.name}: {facts.licence}")


def described(facts: RepositoryFacts) -> str:
    """Name, commit, bytes, dtype and parameters in one line."""
    words = [facts.name if facts.commit is None else f"{facts.name} at {facts.commit[:10]}"]
    if facts.model_type:
        words.append(facts.model_type)
    if facts.files:
        words.append(f"{size(facts.bytes)} in {len(facts.files)} files")
    elif facts.recorded_bytes:
        words.append(f"{size(facts.recorded_bytes)} (recorded)")
    if facts.origin == "shipped":
        words.append("shipped with the package")
    elif facts.origin != "folder":
        words.append(f"{size(facts.bytes_here)} here, {size(facts.bytes_to_fetch)} to fetch")
    if count := facts.parameters:
        number = f"{count / 1e9:.2f} billion" if count >= 1e7 else f"{count:,}"
        words.append(f"{number} parameters{f' in {facts.dtype}' if facts.dtype else ''}")
    return ", ".join(words)


# -- what a Video LLM is asked -----------------------------------------------------------------------------


def add_asked(
    needs: Needs,
    found: FoundModel,
    given: Mapping[str, Any],
    *,
    mode: str = "clean",
    sampling: Mapping[str, Any] | None = None,
    trained: bool = True,
) -> Mapping[str, str]:
    """Add prompt, frames and preprocessing of a Video LLM, as `scoring.released.choose_options` chooses them for a run.

    Args:
        found: the model.
        given: options of the command by name; None where none was given.
        mode: `clean` or `released`.
        sampling: `count`, `fps` and `max_frames` of the frame policy that the command names; None where it names none.
        trained: whether a fine-tune is asked as it was trained, where nothing is given.

    Returns:
        The options, with what the mode sets.
    """
    named = DEFAULTS | {name: str(value) for name, value in given.items() if value}
    if found.family is None:  # a model that is asked nothing, or is not known yet
        if (prompt := named.get("prompt")) in PROMPTS:
            needs.ok("prompt", f"{prompt} (named): {_shown(PROMPTS[prompt])}")
        elif prompt is not None:
            needs.bad("prompt", f"there is no prompt {prompt!r}", f"One of {', '.join(PROMPTS)}")
        return named
    family, noted = found.family, trained_settings(found.trained or {}) if trained else {}
    own = {name: noted.get(f"trained_{name}") for name in ("prompt", "preprocess")}
    own["placeholder_space"] = noted.get("trained_space")
    try:
        chosen = choose_options(mode, family, found.base.name, given, own)
        wording = get_prompt(chosen.options.get("prompt", family.default_prompt))
        choose(chosen.options["merge"], MERGES, "merge")
        check_preprocess(chosen.options["preprocess"], family.preprocesses)
        check_placeholder_space(chosen.options["placeholder_space"], family.placeholder_spaces)
    except SynvitaError as error:
        needs.failed("prompt" if isinstance(error, CaptionError) else "options", error)
        return named
    options = chosen.options

    def whence(name: str) -> str:
        if given.get(name):
            return "named"
        if name in chosen.set_by_mode:
            return f"mode {mode}"
        return "as it was trained" if own.get(name) else "the family's own"

    needs.ok("prompt", f"{wording.name} ({whence('prompt')}): {_shown(wording)}")
    _add_processor(needs, found, wording)
    changes = {name: value for name, value in (sampling or {}).items() if value is not None}
    given, own = dict(given) | {"frames": bool(changes)}, own | {"frames": noted.get("trained_frames")}
    if own["frames"] and not {"count", "fps"} & changes.keys():
        changes["count"] = own["frames"]
    try:
        policy = family.frames.changed(**changes)
    except SynvitaError as error:
        needs.failed("frames", error)
        return options
    number = f"{policy.fps:g} frames a second" if policy.fps else f"{policy.count} frames, {policy.rule}"
    number += f", {policy.max_frames} at most" if policy.max_frames else ""
    backend = f", decoded by {options['backend']}" if "backend" in options else ""
    needs.ok("frames", f"{number} ({whence('frames')}){backend}")
    pixels = "the model's own processor" if options["preprocess"] == "processor" else options["preprocess"]
    others = [name for name in _BESIDE if options[name] != DEFAULTS[name]]
    more = "".join(f", {name} {options[name]} ({whence(name)})" for name in others)
    choices = f"; choices: {', '.join(family.preprocesses)}" if len(family.preprocesses) > 1 else ""
    needs.ok("preprocessing", f"{pixels} ({whence('preprocess')}){more}{choices}")
    return options


def _shown(prompt: Prompt) -> str:
    """A prompt in one line, its beginning cut off where it is long."""
    text = prompt.wrap("CAPTION").replace("\n", "\\n")
    return text if len(text) < 160 else "…" + text[-150:]


def _add_processor(needs: Needs, found: FoundModel, prompt: Prompt) -> None:
    """Add what a Video LLM lacks to be asked: its processor, a tokenizer, the chat template that its prompt needs."""
    name, paths, family = found.base.name, found.base.paths, found.family
    if not paths or family is None:
        return
    forms = {Path(path).suffix for path in paths} & {".safetensors", ".bin"}
    if family.advice is not None and forms == {".bin"}:
        text = f"{name} has its weights as .bin alone, as a released checkpoint that is not converted"
        needs.bad("model", text, family.advice)
    lacking = []
    if not paths & {PROCESSOR, PREPROCESSOR, VIDEO_PREPROCESSOR}:
        lacking.append(f"processor settings ({PROCESSOR}, {PREPROCESSOR})")
    if not paths & _TOKENIZERS:
        lacking.append("a tokenizer (tokenizer.json, tokenizer.model)")
    if lacking:
        needs.bad("processor", f"{name} has no {' and no '.join(lacking)}", family.advice)
    if prompt.video:  # it needs no chat template
        return
    own = paths & _TEMPLATES or any(path.startswith("additional_chat_templates/") for path in paths)
    settings = ("tokenizer_config.json", PROCESSOR)
    if not own and not any(
        (read_settings(needs, found.base, file) or {}).get("chat_template") for file in settings
    ):
        others = [each.name for each in PROMPTS.values() if each.video]
        fix = f"Name a prompt with its own wording: --prompt {' | '.join(others[:3])}, …"
        text = f"{prompt.name} goes into the model's chat template, and {name} has none"
        needs.bad("prompt", text, fix)


def is_kind(needs: Needs, found: FoundModel, others: tuple[str, ...] = ()) -> bool:
    """Whether a command can do something with a model of this type, or its type is not known; else say it.

    Args:
        found: the model.
        others: types that the command takes beside families of Video LLMs.
    """
    model_type = found.base.model_type
    if model_type is None or model_type in FAMILIES or model_type in others:
        return True
    fix = "The original layout of Video-LLaVA is converted first: synvita convert (docs/checkpoints.md)"
    if found.adapter is not None:
        fix = f"If it is a Video-LLaVA's: {CONVERT_LORA}"
    expected = ", ".join([*FAMILIES, *others])
    text = f"{found.base.name} is of model_type {model_type!r}, expected one of {expected}"
    needs.bad("model", text, fix if model_type in ("llama", "llava", "llava_llama") else None)
    return False
