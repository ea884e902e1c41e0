"""A model that a user names: where it is, what must be fetched, its adapter and base, and what it will be asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..captions.prompts import PROMPTS
from ..errors import SynvitaError
from ..hub.known import canonical
from ..models.families import FAMILIES
from ..models.resolve import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TRAINING_ARGUMENTS, ModelFiles, locate
from .hub import HubQuestions, has_token
from .report import Check, Needs, check_of, size
from .repository import RepositoryFacts, look_at
from .video_llms import FamilyFacts, family_facts
from .wanted import PROCESSORS, TEMPLATES, TOKENIZERS


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and what belongs to it.

    Attributes:
        base: the whole model.
        adapter: PEFT's, where there is one.
        family: of Video LLMs; None for other kinds.
        trained: what `synvita train` noted beside the model or adapter: `prompt`, `frames`, ….
        settings: its `config.json`; empty where it could not be read.
    """

    base: RepositoryFacts
    adapter: RepositoryFacts | None = None
    family: FamilyFacts | None = None
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
    hub: HubQuestions,
) -> FoundModel | None:
    """Look at a model that a user names, and add what was found to `needs`; None where there is no model.

    Args:
        needs: takes checks and repositories.
        name: folder, Hub id or alias, maybe with `@REVISION`; of a whole model or of an adapter.
        revision: commit, tag or branch on the Hub.
        adapter: an adapter for `name`.
        adapter_revision: of it.
        aliases: short names that the command knows.
        hub: asks.
    """
    try:
        files = locate(name, revision, aliases=aliases)
        facts = look_at(files.location, files.revision, hub=hub)
    except SynvitaError as error:
        needs.failed("model", error)
        return None
    if facts.problem is not None and facts.origin == "nothing":
        needs.repositories.append(facts)
        needs.add(repository_checks(facts, "model"))
        return None
    # An adapter alone names its base.
    alone = adapter is None and _is_adapter(facts)
    own: RepositoryFacts | None = None
    if alone:
        own, base = facts, _base_of(needs, facts, hub)
        if base is None:
            needs.repositories.append(own)
            needs.add(repository_checks(own, "adapter"))
            return None
        facts = base
    elif adapter is not None:
        own = look_at(adapter, adapter_revision, hub=hub)
    for what, each in (("model", facts), ("adapter", own)):
        if each is not None:
            needs.repositories.append(each)
            needs.add(repository_checks(each, what))
    if own is not None:
        needs.add(_adapter_checks(facts, own, hub, named=not alone))
    settings = read_settings(facts, CONFIG, hub)
    model_type = facts.model_type or (settings or {}).get("model_type")
    if model_type is not None and facts.model_type is None:
        facts = replace(facts, model_type=str(model_type))
    trained = read_settings(own or facts, TRAINING_ARGUMENTS, hub)
    return FoundModel(facts, own, family_facts(facts.model_type), trained, settings)


def read_settings(facts: RepositoryFacts, file: str, hub: HubQuestions) -> dict[str, Any] | None:
    """A JSON file of a repository or folder; None where it has none, or cannot be asked."""
    if facts.files and file not in facts.paths:
        return None
    folder = ModelFiles(facts.name).folder
    try:
        if folder is not None:
            return ModelFiles(str(folder)).read(file)
        return hub.read_json(facts.name, file, facts.commit or facts.revision, facts.kind)
    except SynvitaError:  # said already, of the repository
        return None


def _is_adapter(facts: RepositoryFacts) -> bool:
    return ADAPTER_CONFIG in facts.paths and CONFIG not in facts.paths


def _base_of(needs: Needs, adapter: RepositoryFacts, hub: HubQuestions) -> RepositoryFacts | None:
    settings = read_settings(adapter, ADAPTER_CONFIG, hub) or {}
    name = settings.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        needs.bad(
            "adapter",
            f"{adapter.name}: {ADAPTER_CONFIG} does not name its base model",
            "Name the base as MODEL and this as its --adapter",
        )
        return None
    revision = settings.get("revision")
    base = look_at(name, revision if isinstance(revision, str) else None, hub=hub)
    if base.problem is not None and base.origin == "nothing":
        advice = "Name the base as MODEL and this as its --adapter"
        needs.bad("adapter", f"its base model {name!r} cannot be found: {base.problem.problem}", advice)
        return None
    return base


def _adapter_checks(
    base: RepositoryFacts, adapter: RepositoryFacts, hub: HubQuestions, *, named: bool
) -> Iterator[Check]:
    """That PEFT can read it, and that it is for this base."""
    if adapter.files and ADAPTER_WEIGHTS not in adapter.paths:
        fix = "Convert it: `synvita convert` takes the released forms (docs/checkpoints.md)"
        yield Check("bad", "adapter", f"{adapter.name} has no {ADAPTER_WEIGHTS}", fix)
    settings = read_settings(adapter, ADAPTER_CONFIG, hub) or {}
    trained_on = settings.get("base_model_name_or_path")
    same = canonical(str(trained_on)) == canonical(base.name)
    if named and trained_on and base.origin != "folder" and not same:
        fix = "Name the adapter alone: it knows its base"
        yield Check("bad", "adapter", f"it was trained on {trained_on}, not on {base.name}", fix)


# -- what a repository says --------------------------------------------------------------------------------


def repository_checks(facts: RepositoryFacts, subject: str) -> Iterator[Check]:
    """Whether a model or dataset can be had, how large it is, and under which licence.

    Args:
        facts: of `look_at`.
        subject: what it is to the command: `model`, `adapter`, `data`, ….
    """
    if facts.problem is not None:
        yield check_of(subject, facts.problem)
    elif facts.faults:
        few = "; ".join(facts.faults[:3]) + (
            f"; and {len(facts.faults) - 3} more" if len(facts.faults) > 3 else ""
        )
        fix = "Fetch or save it again" if facts.origin != "cache" else f"hf download {facts.name}"
        yield Check("bad", subject, f"{facts.name}: {few}", fix)
    elif facts.disabled:
        yield Check("bad", subject, f"{facts.name} is disabled on the Hub")
    else:
        yield Check("ok", subject, described(facts))
    if facts.renamed_to is not None:
        text = f"{facts.name} is called {facts.renamed_to} today; the Hub still knows the old name"
        yield Check("warn", subject, text, f"Name {facts.renamed_to}")
    if facts.gated and facts.access is None and facts.problem is None:
        token = "a token is set" if has_token() else "no token is set"
        text = f"{facts.name} is gated, {token}"
        yield Check("warn", subject, text, "Accept its terms on its page, then log in with `hf auth login`")
    elif facts.gated and facts.access:
        yield Check("ok", subject, f"{facts.name} is gated, and this token has access")
    if facts.unasked is not None and facts.problem is None:
        said = "what follows is recorded" if facts.origin == "known" else "what is said is of the cache"
        yield Check("warn", subject, f"the Hub was not asked ({facts.unasked}): {said}")
    if facts.origin != "folder" and facts.problem is None:
        if facts.licence is None:
            yield Check(
                "warn", "licence", f"{facts.name}: none is stated", "Ask its authors before you publish"
            )
        else:
            yield Check("ok", "licence", f"{facts.name}: {facts.licence}")


def described(facts: RepositoryFacts) -> str:
    """Name, commit, bytes, dtype and parameters in one line."""
    words = [facts.name if facts.commit is None else f"{facts.name} at {facts.commit[:10]}"]
    if facts.model_type:
        words.append(str(facts.model_type))
    if facts.files:
        words.append(f"{size(facts.bytes)} in {len(facts.files)} files")
    elif facts.recorded_bytes:
        words.append(f"{size(facts.recorded_bytes)} (recorded)")
    if facts.origin != "folder":
        words.append(f"{size(facts.bytes_here)} here, {size(facts.bytes_to_fetch)} to fetch")
    if facts.parameters:
        stored = f" in {facts.dtype}" if facts.dtype else ""
        count = facts.parameters
        words.append(
            f"{count / 1e9:.2f} billion parameters{stored}"
            if count >= 1e7
            else f"{count:,} parameters{stored}"
        )
    return ", ".join(words)


# -- what a Video LLM is asked -----------------------------------------------------------------------------


def processor_checks(found: FoundModel, prompt: str, hub: HubQuestions) -> Iterator[Check]:
    """That a Video LLM brings its processor, and the chat template that its prompt needs.

    Args:
        found: the model.
        prompt: name of the wording.
        hub: asks.
    """
    paths, family = found.base.paths, found.family
    if not paths or family is None:
        return
    lacking = []
    weights = [path for path in paths if path.endswith((".safetensors", ".bin"))]
    if family.advice is not None and weights and not any(path.endswith(".safetensors") for path in weights):
        text = (
            f"{found.base.name} has its weights as .bin alone, as a released checkpoint that is not converted"
        )
        yield Check("bad", "model", text, family.advice)
    if not paths & set(PROCESSORS):
        lacking.append("processor settings (processor_config.json, preprocessor_config.json)")
    if not paths & set(TOKENIZERS):
        lacking.append("a tokenizer (tokenizer.json, tokenizer.model)")
    if lacking:
        yield Check("bad", "processor", f"{found.base.name} has no {' and no '.join(lacking)}", family.advice)
    known = PROMPTS.get(prompt)
    if known is not None and not known.video and not _has_template(found, hub):
        others = [name for name, each in PROMPTS.items() if each.video]
        yield Check(
            "bad",
            "prompt",
            f"{prompt} goes into the model's chat template, and {found.base.name} has none",
            f"Name a prompt with its own wording: --prompt {' | '.join(others[:3])}, …",
        )


def _has_template(found: FoundModel, hub: HubQuestions) -> bool:
    paths = found.base.paths
    if paths & set(TEMPLATES) or any(path.startswith("additional_chat_templates/") for path in paths):
        return True
    for file in ("tokenizer_config.json", "processor_config.json"):
        if (read_settings(found.base, file, hub) or {}).get("chat_template"):
            return True
    return False


def asked_checks(
    found: FoundModel,
    hub: HubQuestions,
    *,
    prompt: str | None,
    frames: int | None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Check]:
    """Which prompt, frames and preprocessing a Video LLM will get.

    Args:
        found: the model.
        hub: asks.
        prompt: that the command names; None for the one it was trained with, or its family's.
        frames: number of frames that the command names.
        settings: further options of the command that change what the model sees, by name; None values are defaults.
    """
    family, trained = found.family, dict(found.trained or {})
    if family is None and prompt is None:
        return  # a model that is asked nothing, or is not known yet
    wording = prompt or trained.get("prompt") or (family.prompt if family is not None else "")
    whence = "named" if prompt else "as it was trained" if trained.get("prompt") else "the family's own"
    if wording not in PROMPTS:
        fix = f"One of {', '.join(PROMPTS)}"
        yield Check("bad", "prompt", f"there is no prompt {wording!r}", fix)
        return
    text = PROMPTS[wording].wrap("CAPTION").replace("\n", "\\n")
    yield Check("ok", "prompt", f"{wording} ({whence}): {text if len(text) < 160 else '…' + text[-150:]}")
    yield from processor_checks(found, wording, hub)
    if family is None:
        return
    if frames is not None:
        yield Check("ok", "frames", f"{frames} frames (named)")
    elif isinstance(trained.get("frames"), int):
        yield Check("ok", "frames", f"{trained['frames']} frames (as it was trained)")
    else:
        yield Check("ok", "frames", f"{family.frames_text} (the family's own)")
    named = {key: value for key, value in (settings or {}).items() if value is not None}
    how = ", ".join(f"{key} {value}" for key, value in named.items())
    choices = f"; choices: {', '.join(family.preprocesses)}" if family.preprocesses else ""
    yield Check("ok", "preprocessing", (how or "the model's own processor") + choices)


def kind_check(found: FoundModel, others: tuple[str, ...] = ()) -> Check | None:
    """Whether a command can do something with a model of this type; None where its type is not known.

    Args:
        found: the model.
        others: types that the command takes beside families of Video LLMs.
    """
    model_type = found.base.model_type
    if model_type is None or model_type in FAMILIES or model_type in others:
        return None
    expected = ", ".join([*FAMILIES, *others])
    fix = "The original layout of Video-LLaVA is converted first: synvita convert (docs/checkpoints.md)"
    text = f"{found.base.name} is of model_type {model_type!r}, expected one of {expected}"
    return Check("bad", "model", text, fix if model_type in ("llava", "llava_llama") else None)
