"""What `synvita build`, `generate`, `vqascore` and `push` need, and what of it is there; no model is loaded.

Each function takes `given`, the command's parameters by name, and `needs`, to which it adds what it finds.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from synvita_data.display import counted
from synvita_data.doctor.data import find_data
from synvita_data.doctor.inputs import SECONDS, add_file, add_folder, add_output, count_videos
from synvita_data.doctor.memory import Memory, memory_check, scoring_memory, weights_part
from synvita_data.doctor.models import add_repository, find_model, read_settings
from synvita_data.doctor.report import Needs, size
from synvita_data.doctor.repository import look_at
from synvita_data.doctor.wanted import MODEL_INDEX, pipeline_files
from synvita_data.errors import HubError, SourceError, SynvitaError
from synvita_data.hub.reach import REPO_ID
from synvita_data.hub.repo import check_version_tag
from synvita_data.models.families import FAMILIES
from synvita_data.models.resolve import CONFIG, locate, trained_settings
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import Triplet
from synvita_data.synthetic_videos.archives import archive_kind

from .contrast.writing.registry import OPTIONS
from .contrast_needs import add_writing
from .dataset import BuildOptions, Chain
from .dataset.options import check_inputs, chosen_synthetic, default_config
from .generators.base import parse_overrides
from .generators.command import open_generator as open_command
from .generators.diffusers.settings import pipeline_settings
from .generators.folder import BOUND_TO
from .generators.lavie import open as lavie
from .generators.videocrafter2 import open as videocrafter2
from .sources.registry import GENERATORS, SCHEMES, open_source, parse_spec
from .training_csv import is_training_csv, open_triplets
from .vqascore import default_dtype
from .vqascore.models import ALIASES, KINDS, PREPROCESSING, is_shapes_scorer

# Megabytes of a generated video, by the authors' own: docs/scale.md.
_VIDEO_BYTES = 1_000_000
_SETTINGS = ("transformer", "unet", "vae")
_SHOWN = ("pipeline", "preset", "frames", "height", "width", "fps", "steps", "guidance", "dtype", "vae_dtype")


# -- build -------------------------------------------------------------------------------------------------


def build_needs(given: Any, needs: Needs) -> None:
    """What a build needs.

    Raises:
        SynvitaError: options that the build itself refuses.
    """
    options = _build_options(given)
    triplets: list[Triplet] = []
    if given.captions is not None:
        add_writing(given, needs)
    elif not str(options.triplets).startswith("shapes:"):
        triplets = read_triplets(needs, given)
    embedded = 0
    if options.synthetic is None:
        needs.warn("synthetic", "none are named: rows will have no synthetic video", "--synthetic SPEC")
    else:
        chain, embed = options.chain, options.embed_synthetic
        fetch = embed or bool(chain.models)
        embedded = add_synthetic(
            needs, options.synthetic, triplets, chain.overrides, chain.samples, embed=embed, fetch=fetch
        )
    # Scores, weights and masks.
    if options.vqascores is not None:
        add_file(needs, options.vqascores, "scores", "VQAScores")
    elif options.chain.models:
        add_vqa_models(needs, given, options.chain.models)
    elif is_training_csv(options.triplets):
        needs.ok("scores", f"those of {options.triplets}, a training CSV of the authors")
    else:
        needs.warn("scores", "no VQAScores: weights stay null", "--vqascores FILE, or --vqa-model NAME")
    if options.tokenizer is not None and not Path(options.tokenizer).expanduser().is_file():
        found = look_at(
            options.tokenizer, hub=needs.hub, wanted=lambda paths: {"tokenizer.json"} & set(paths)
        )
        add_repository(needs, found, "tokenizer")
        if found.origin in ("hub", "folder") and not found.files:
            text = f"{options.tokenizer} has no tokenizer.json"
            needs.bad("tokenizer", text, "Name one with a fast tokenizer")
    if options.real_root is not None:
        try:
            videos = RealVideos(options.real_root, options.real_mapping)
            what, root = "triplets", options.real_root
            count_videos(needs, triplets, videos.find_triplet, what, root, state="warn")
        except SynvitaError as error:
            needs.failed("videos", error)
    if options.embed_real:
        needs.warn("licence", "real videos are embedded: the dataset is for private use only")
    # What the dataset folder holds already.
    out, config = options.out, options.config
    text = f"the dataset goes into {out}, config {config}"
    if any((out / config).glob("*.parquet")):
        text = f"{out} has the config {config} already: it is built again, or kept where nothing changed"
    elif (out / "README.md").is_file():
        text = f"{out} is a dataset: the config {config} is added"
    add_output(needs, out, text)
    needs.disk(("of videos to embed", out, 2 * embedded))


def _build_options(given: Any) -> BuildOptions:
    """The options of the build; making them checks what needs no file."""
    values = {
        field.name: getattr(given, field.name) for field in fields(BuildOptions) if hasattr(given, field.name)
    }
    values["synthetic"] = chosen_synthetic(given.synthetic, given.synthetic_root)
    of_writer = [f"--{name.replace('_', '-')}" for name in OPTIONS if getattr(given, name, None) is not None]
    # That a writer is missing is a check of its own.
    check_inputs(given.triplets, given.captions, given.writer or given.captions, of_writer)
    if given.captions is not None:
        values["triplets"] = given.out / ".work" / "contrast" / "triplets.csv"
    values["config"] = given.config or default_config(values["synthetic"], given.generator)
    models, overrides = tuple(given.vqa_model or ()), tuple(given.settings or ())
    return BuildOptions(**values, chain=Chain(samples=given.samples, overrides=overrides, models=models))


# -- generate ----------------------------------------------------------------------------------------------


def generation_needs(given: Any, needs: Needs) -> None:
    """What generating videos needs."""
    triplets, out, samples = read_triplets(needs, given), given.out, given.samples
    add_generator(needs, given.generator, given.settings or ())
    there = sum(1 for _ in out.glob("*.mp4")) if out.is_dir() else 0
    text = f"videos go into {out}, which is new or empty"
    if (out / BOUND_TO).is_file():
        text = f"{out} holds {counted(there, 'videos')}: it continues, if generator and settings are the same"
    elif there:
        text = f"{out} holds {counted(there, 'videos')} that this command did not make"
        needs.warn("out", text, "Name another --out")
    if not there or (out / BOUND_TO).is_file():
        add_output(needs, out, text)
    count = len({triplet.pair_id for triplet in triplets}) * samples
    needs.ok("videos", f"{counted(count, 'videos')} to make ({samples} a contrast caption)")
    needs.disk(("of videos at most", out, count * _VIDEO_BYTES))


def add_generator(needs: Needs, spec: str, settings: Sequence[str]) -> None:
    """Add what a generator needs: files, packages, settings, memory.

    Args:
        spec: of the generator.
        settings: `key=value`.
    """
    try:
        scheme, argument = parse_spec(spec)
        if not SCHEMES[scheme].generates:
            fix = f"Its videos need no generating: synvita build --synthetic {spec}"
            raise SourceError(f"{scheme}: does not generate", found=spec, fix=fix)
        overrides = parse_overrides(settings)
        if scheme == "command":
            program = open_command(argument, overrides, None, None).recipe.settings["template"].split()[0]
            if (found := shutil.which(program)) is None:
                needs.bad("generator", f"there is no program {program}", "Check the template, and PATH")
            else:
                needs.ok("generator", f"the program {found}")
            return
        needs.packages("generate")
        if scheme == "diffusers":
            _add_pipeline(needs, argument, overrides)
        else:
            _add_local_generator(needs, scheme, Path(argument).expanduser(), overrides)
    except SynvitaError as error:
        needs.failed("generator", error)


def _add_local_generator(needs: Needs, scheme: str, folder: Path, overrides: dict[str, Any]) -> None:
    """LaVie and VideoCrafter2: files that their instructions name, in a folder."""
    kind = lavie if scheme == "lavie" else videocrafter2
    wanted = [lavie.WEIGHTS, f"{lavie.BASE}/unet/config.json"]
    if kind is videocrafter2:
        weights = next((name for name in kind.WEIGHTS if (folder / name).is_file()), kind.WEIGHTS[0])
        wanted = [weights, f"{kind.TOKENIZER}/vocab.json"]
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        fix = "docs/generating.md says where it is from"
        needs.bad("generator", f"{folder} lacks {', '.join(missing)}", fix)
        return
    own = {key: value for key, value in overrides.items() if key != "fps_condition"}
    chosen, _ = pipeline_settings(kind.PIPELINE, {}, scheme, own, kind.PRESET)
    needs.ok("generator", f"{scheme} in {folder}: {_shown(chosen)}")


def _add_pipeline(needs: Needs, argument: str, overrides: dict[str, Any]) -> None:
    """A pipeline of diffusers: its components, their bytes, and the settings it would be called with."""
    files = locate(argument)
    facts = look_at(files.location, files.revision, hub=needs.hub)
    index = None if facts.problem is not None else read_settings(needs, facts, MODEL_INDEX)
    if index is not None:
        parts = [name for name, value in index.items() if isinstance(value, list) and any(value)]
        wanted = lambda paths: pipeline_files(paths, parts)  # noqa: E731
        facts = look_at(files.location, files.revision, hub=needs.hub, wanted=wanted)
    add_repository(needs, facts, "generator")
    if facts.problem is not None:
        return
    if index is None:
        fix = "Give a folder of save_pretrained, or a repository with model_index.json"
        needs.bad("generator", f"{argument} is not a pipeline of diffusers: no {MODEL_INDEX}", fix)
        return
    configs = {part: read_settings(needs, facts, f"{part}/{CONFIG}") or {} for part in _SETTINGS}
    held = {"model_index": index, **configs}
    chosen, placement = pipeline_settings(str(index.get("_class_name")), held, files.location, overrides)
    needs.ok("settings", _shown(chosen))
    if facts.parameters:
        needs.memory = Memory((weights_part(facts.parameters, str(chosen["dtype"])),))
    offload = placement.get("offload")
    if offload in (None, "none"):
        needs.checks.append(memory_check(needs.memory, needs.machine))
        needs.warn("memory", "activations and decoding come on top; they were not measured (docs/scale.md)")
    else:
        needs.ok("memory", f"offload {offload}: parts wait in main memory")


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {settings[name]}" for name in _SHOWN if settings.get(name) is not None)


# -- vqascore ----------------------------------------------------------------------------------------------


def vqascore_needs(given: Any, needs: Needs) -> None:
    """What scoring videos with VQA models needs."""
    add_synthetic(needs, given.synthetic, read_triplets(needs, given))
    needs.decoder(given.backend)
    needs.ok("frames", f"{given.frames} frames, {given.rule}")
    add_vqa_models(needs, given, given.model)
    out = given.out
    if out.suffix.lower() != ".parquet":
        needs.bad("out", f"{out} is not named as a Parquet file", "Name a file that ends with .parquet")
    else:
        beside = ", work in progress is beside it" if (out.parent / ".work").is_dir() else ""
        add_output(needs, out.parent, f"scores go into {out}{beside}")
    needs.disk()


def add_vqa_models(needs: Needs, given: Any, models: Sequence[str]) -> None:
    """Add what VQA models need, which run one after another.

    Args:
        given: parameters of `vqascore`, or of `build`, which has few of them.
        models: aliases, Hub ids or folders.
    """
    devices, whole = getattr(given, "devices", None), getattr(given, "whole_video", False)
    dtype = getattr(given, "dtype", None) or default_dtype(devices, getattr(given, "address", None))
    preprocess = getattr(given, "preprocess", "reference")
    needs.packages("score")
    for name in models:
        if is_shapes_scorer(name):
            needs.ok("model", f"{name}: a scorer of the shapes world, which has no files")
            continue
        found = find_model(needs, name, aliases=ALIASES)
        if found is None:
            continue
        memory = scoring_memory(found.base.parameters, dtype, name)
        if memory is not None and (needs.memory is None or memory.total > needs.memory.total):
            needs.memory = memory
        config = found.settings
        if config is None:
            continue
        if whole and config.get("model_type") not in FAMILIES:
            text = f"{name} cannot see a whole video (model_type {config.get('model_type')!r})"
            needs.bad("model", text, "Score it frame by frame: leave --whole-video out")
            continue
        kind = next(kind for kind in KINDS if KINDS[kind].matches(config))
        shape = KINDS[kind].shapes.get(preprocess, "its own processor")
        if whole:
            trained = trained_settings(found.trained or {})["trained_preprocess"]
            kind, shape = "whole video", trained or "its own processor"
        needs.ok("preprocessing", f"{name}: {kind}, frames by {shape}")
        tower = config.get("mm_vision_tower")
        if kind == "clip-flant5" and isinstance(tower, str) and found.base.origin != "folder":
            vision = look_at(tower, hub=needs.hub, wanted=lambda paths: {CONFIG} & set(paths))
            add_repository(needs, vision, "vision tower")
    needs.ok("dtype", f"weights are loaded in {dtype}")
    if preprocess not in PREPROCESSING:
        needs.bad("preprocessing", f"unknown: {preprocess}", f"One of {', '.join(PREPROCESSING)}")
    device = devices[0] if devices else None
    needs.checks.append(memory_check(needs.memory, needs.machine, device=device))


# -- push --------------------------------------------------------------------------------------------------


def push_needs(given: Any, needs: Needs) -> None:
    """What publishing a dataset needs; nothing is sent."""
    folder, repo = given.folder, given.repo
    if not folder.expanduser().is_dir():
        needs.bad("data", f"{folder} is not a folder", "Name the folder that `synvita build` made")
    elif (found := find_data(needs, str(folder))) is not None:
        needs.ok("data", f"{size(found.facts.bytes)} in {len(found.facts.files)} files, at most, to send")
    try:
        check_version_tag(given.tag)
    except SynvitaError as error:
        needs.failed("tag", error)
    if not REPO_ID.fullmatch(repo) or ".." in repo or "--" in repo:
        needs.bad("repository", f"{repo} is not the name of a repository", "OWNER/NAME")
        return
    if needs.hub.has_token:
        needs.ok("token", "a token is set; whether it may write is known when it is tried (--dry-run asks)")
    else:
        needs.bad("token", "no token for the Hub is set", "Set HF_TOKEN, or run `hf auth login`")
    # What lies under the name to publish under.
    try:
        info = needs.hub.info(repo, None, "dataset")
    except HubError as error:
        cause = error.__cause__
        if isinstance(cause, RepositoryNotFoundError) and not isinstance(cause, GatedRepoError):
            text = f"{repo} does not exist yet, or the token may not see it: it would be created"
            needs.ok("repository", text)
        else:
            needs.failed("repository", error)
        return
    if info is None:
        text = f"the Hub could not be asked about {repo} ({needs.hub.out_of_reach})"
        needs.bad("repository", text, "Publishing needs the Hub")
        return
    if info.id.lower() != repo.lower():
        needs.warn("repository", f"{repo} is called {info.id} today", f"Name {info.id}")
    if given.private and not info.private:
        fix = "Make it private on the Hub, or leave --private out"
        needs.bad("repository", f"{repo} is public already", fix)
    else:
        seen = "private" if info.private else "public"
        needs.ok("repository", f"{repo} is there, {seen}, at {str(info.sha)[:10]}")


# -- what several read -------------------------------------------------------------------------------------


def read_triplets(needs: Needs, given: Any) -> list[Triplet]:
    """Read an annotation file as far as a few seconds go, and add what was found.

    Args:
        given: with `triplets`, `split` and `source`.
    """
    file, split = given.triplets, given.split if isinstance(given.split, str) else None
    read, bad, more, end = list[Triplet](), list[SynvitaError](), "", time.monotonic() + SECONDS
    try:
        for triplet in open_triplets(file, split=split, source=given.source, on_bad=bad.append):
            read.append(triplet)
            if time.monotonic() > end:
                more = " and more"
                break
    except SynvitaError as error:
        needs.failed("triplets", error)
        return read
    found = f"{counted(len(read), 'triplets')}{more}"
    if not read:
        needs.bad("triplets", f"{file}: no row can be used" + (f", first: {bad[0]}" if bad else ""))
    elif bad:
        needs.warn(
            "triplets", f"{file}: {found}; {counted(len(bad), 'rows')} cannot be used, first: {bad[0]}"
        )
    else:
        needs.ok("triplets", f"{file}: {found}")
    return read


def add_synthetic(
    needs: Needs,
    spec: str,
    triplets: Sequence[Triplet],
    settings: Sequence[str] = (),
    samples: int = 1,
    *,
    embed: bool = False,
    fetch: bool = True,
) -> int:
    """Add where synthetic videos come from, and for how many triplets there is one; bytes that are embedded.

    Args:
        spec: `folder:DIR`, a generator, ….
        triplets: that were read.
        settings: of a generator.
        samples: videos a caption.
        embed: whether the authors' videos are embedded, and not referred to.
        fetch: whether those of a repository are fetched, where they need not be.
    """
    try:
        scheme, argument = parse_spec(spec)
        if scheme in GENERATORS:
            add_generator(needs, spec, settings)
            return len(triplets) * samples * _VIDEO_BYTES
        if SCHEMES[scheme].released:
            return _add_authors_videos(needs, scheme, argument, embed=embed, fetch=fetch)
        if scheme != "folder":
            needs.ok("synthetic", f"{spec} makes its own")
            return 0
        found = open_source(spec).find(triplets)
    except SynvitaError as error:
        needs.failed("synthetic", error)
        return 0
    wanted = {triplet.pair_id for triplet in triplets}
    total, there = len(wanted), len(wanted & found.videos.keys())
    text = f"{there:,} of {total:,} pairs have a synthetic video in {argument}"
    if found.unmatched:
        text += f"; {counted(len(found.unmatched), 'files belong')} to none, first: {found.unmatched[0]}"
    if found.quarantined:
        first = f"{counted(len(found.quarantined), 'files')} cannot be used, first: {found.quarantined[0]}"
        needs.warn("synthetic", first)
    if not there and total:
        needs.bad("synthetic", text, "docs/building.md says how files are named")
    elif there < total:
        needs.warn("synthetic", text, "Rows without one have no synthetic video")
    else:
        needs.ok("synthetic", text)
    files = [video.path for videos in found.videos.values() for video in videos]
    return sum(path.stat().st_size for path in files if path.is_file())


def _add_authors_videos(needs: Needs, scheme: str, argument: str, *, embed: bool, fetch: bool) -> int:
    """The authors' videos: what their repository or folder lists. Which belong to which pair the build says."""
    if scheme == "hf":
        files = locate(argument)
        facts = look_at(files.location, files.revision, "dataset", hub=needs.hub)
        wanted = lambda paths: [path for path in paths if _is_fetched(path, fetch)]  # noqa: E731
        fetched = look_at(files.location, files.revision, "dataset", hub=needs.hub, wanted=wanted)
        if facts.unasked is not None:  # as the build itself, which lists it there
            text = f"what {argument} holds is asked of the Hub, whatever the cache has ({facts.unasked})"
            needs.bad("synthetic", text, "Name a copy of the repository: --synthetic-root DIR")
            return 0
        add_repository(needs, fetched, "synthetic")
        if facts.problem is not None:
            return 0
    else:
        folder = Path(argument).expanduser()
        if not add_folder(needs, folder, "synthetic", "the authors' videos"):
            return 0
        facts = look_at(str(folder), kind="dataset", hub=needs.hub)
    videos = [file for file in facts.files if Path(file.path).suffix.lower() == ".mp4"]
    archives = [file for file in facts.files if archive_kind(file.path) is not None]
    text = f"{counted(len(videos), 'loose mp4 files')} and {counted(len(archives), 'archives')} in {argument}"
    if videos or archives:
        needs.ok("synthetic", text)
    elif facts.files:
        needs.bad("synthetic", text, "docs/building.md says how the authors' videos are named")
    if embed and facts.licence is None:
        text = f"{argument} states none, and its videos are embedded"
        needs.warn("licence", text, "Leave --embed-synthetic out")
    return sum(file.size or 0 for file in (*videos, *archives)) if embed else 0


def _is_fetched(path: str, videos: bool) -> bool:
    """Whether a build fetches a file of the authors' repository: archives, and loose videos where it must."""
    return archive_kind(path) is not None or (videos and path.lower().endswith(".mp4"))
