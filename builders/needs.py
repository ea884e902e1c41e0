"""What `synvita build`, `generate`, `vqascore` and `push` need, and what of it is there; no model is loaded."""

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synvita_data.doctor.data import find_data
from synvita_data.doctor.hub import HubQuestions, cache_folder, has_token
from synvita_data.doctor.inputs import SECONDS, file_check, folder_check, writable_check
from synvita_data.doctor.machine import Machine, decoder_check, disk_checks, extra_check, look_at_machine
from synvita_data.doctor.memory import Memory, memory_check, scoring_memory, weights_part
from synvita_data.doctor.models import find_model, read_settings, repository_checks
from synvita_data.doctor.report import Needs, check_of, size
from synvita_data.doctor.repository import RepositoryFacts, look_at
from synvita_data.doctor.wanted import MODEL_INDEX, pipeline_files
from synvita_data.errors import HubError, SourceError, SynvitaError
from synvita_data.hub.repo import REPO_ID, check_version_tag
from synvita_data.models.families import FAMILIES
from synvita_data.models.resolve import CONFIG, locate
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import Triplet
from synvita_data.synthetic_videos.archives import archive_kind

from .dataset import BuildOptions
from .generators.base import parse_overrides
from .generators.command import open_generator as open_command
from .generators.diffusers.settings import pipeline_settings
from .generators.folder import BOUND_TO
from .generators.lavie import open as lavie
from .generators.videocrafter2 import open as videocrafter2
from .sources.registry import GENERATORS, SCHEMES, open_source, parse_spec
from .training_csv import open_triplets
from .vqascore import default_dtype
from .vqascore.models import ALIASES, KINDS, PREPROCESSING

# Megabytes of a generated video, by the authors' own: docs/scale.md.
_VIDEO_BYTES = 1_000_000
_SETTINGS = ("transformer", "unet", "vae")


@dataclass
class ReadTriplets:
    """Triplets of a file, as far as they were read in the time there is.

    Attributes:
        triplets: that can be used.
        whole: whether the file was read to its end.
    """

    triplets: list[Triplet] = field(default_factory=list)
    whole: bool = True


# -- build -------------------------------------------------------------------------------------------------


def build_needs(
    options: BuildOptions,
    *,
    models: Sequence[str] = (),
    settings: Sequence[str] = (),
    samples: int = 1,
    devices: Sequence[str] | None = None,
    hub: HubQuestions | None = None,
    machine: Machine | None = None,
) -> Needs:
    """What a build needs. Nothing is written, printed or raised.

    Args:
        options: of the build; making them has checked what needs no file.
        models: VQA models that score on the way.
        settings: of the generator, `key=value`.
        samples: videos a caption.
        devices: that are named.
        hub: to share answers with other looks.
        machine: of `look_at_machine`, to ask once.
    """
    needs, hub, machine = Needs("build"), hub or HubQuestions(), machine or look_at_machine()
    read = ReadTriplets()
    if not str(options.triplets).startswith("shapes:"):
        read = read_triplets(needs, options.triplets, options.split, options.source)
    embedded = 0
    if options.synthetic is None:
        needs.warn("synthetic", "none are named: rows will have no synthetic video", "--synthetic SPEC")
    else:
        embedded = synthetic_needs(
            needs,
            options.synthetic,
            read,
            settings=settings,
            samples=samples,
            embed=options.embed_synthetic,
            hub=hub,
            machine=machine,
        )
    # Scores, weights and masks.
    if options.vqascores is not None:
        needs.checks.append(file_check(options.vqascores, "scores", "VQAScores"))
    elif models:
        vqa_models(
            needs, models, hub=hub, machine=machine, dtype=default_dtype(devices), device=_first(devices)
        )
    else:
        needs.warn("scores", "no VQAScores: weights stay null", "--vqascores FILE, or --vqa-model NAME")
    if options.tokenizer is not None and not Path(options.tokenizer).expanduser().is_file():
        tokenizer = look_at(options.tokenizer, hub=hub, wanted=lambda paths: {"tokenizer.json"} & set(paths))
        needs.repositories.append(tokenizer)
        needs.add(repository_checks(tokenizer, "tokenizer"))
        if tokenizer.origin in ("hub", "folder") and not tokenizer.files:
            needs.bad(
                "tokenizer", f"{options.tokenizer} has no tokenizer.json", "Name one with a fast tokenizer"
            )
    if options.real_root is not None:
        real_videos(needs, read.triplets, options.real_root, options.real_mapping)
    if options.embed_real:
        needs.warn("licence", "real videos are embedded: the dataset is for private use only")
    _dataset_folder(needs, options.out, options.config)
    wanted = [("to fetch from the Hub", cache_folder(), needs.bytes_to_fetch)]
    needs.add(disk_checks([*wanted, ("of videos to embed", options.out, 2 * embedded)]))
    return needs


def _dataset_folder(needs: Needs, out: Path, config: str) -> None:
    """What the dataset folder holds already."""
    if (refused := writable_check(out)) is not None:
        needs.checks.append(refused)
    elif any((out / config).glob("*.parquet")):
        needs.ok(
            "out", f"{out} has the config {config} already: it is built again, or kept where nothing changed"
        )
    elif (out / "README.md").is_file():
        needs.ok("out", f"{out} is a dataset: the config {config} is added")
    else:
        needs.ok("out", f"the dataset goes into {out}, config {config}")


# -- generate ----------------------------------------------------------------------------------------------


def generation_needs(
    triplets: Path,
    spec: str,
    out: Path,
    *,
    samples: int = 1,
    settings: Sequence[str] = (),
    split: str | None = None,
    source: str | None = None,
    hub: HubQuestions | None = None,
    machine: Machine | None = None,
) -> Needs:
    """What generating videos needs; see `build_needs`.

    Args:
        triplets: annotation file.
        spec: of the generator.
        out: folder of the videos.
        samples: videos a caption.
        settings: `key=value`.
        split: for rows that do not say.
        source: for rows that do not say.
        hub: to share answers with other looks.
        machine: of `look_at_machine`, to ask once.
    """
    needs, hub, machine = Needs("generate"), hub or HubQuestions(), machine or look_at_machine()
    read = read_triplets(needs, triplets, split, source)
    generator_needs(needs, spec, settings, hub=hub, machine=machine)
    if (refused := writable_check(out)) is not None:
        needs.checks.append(refused)
    else:
        there = sum(1 for _ in out.glob("*.mp4")) if out.is_dir() else 0
        if (out / BOUND_TO).is_file():
            needs.ok(
                "out", f"{out} holds {there:,} videos: it continues, if generator and settings are the same"
            )
        elif there:
            needs.warn(
                "out", f"{out} holds {there:,} videos that this command did not make", "Name another --out"
            )
        else:
            needs.ok("out", f"videos go into {out}, which is new or empty")
    count = len({triplet.pair_id for triplet in read.triplets}) * samples
    needs.ok(
        "videos", f"{count:,} videos to make{'' if read.whole else ' or more'} ({samples} a contrast caption)"
    )
    wanted = [("to fetch from the Hub", cache_folder(), needs.bytes_to_fetch)]
    needs.add(disk_checks([*wanted, ("of videos at most", out, count * _VIDEO_BYTES)]))
    return needs


def generator_needs(
    needs: Needs, spec: str, settings: Sequence[str], *, hub: HubQuestions, machine: Machine
) -> None:
    """Add what a generator needs: files, packages, settings, memory.

    Args:
        needs: takes it.
        spec: of the generator.
        settings: `key=value`.
        hub: asks.
        machine: this one.
    """
    try:
        scheme, argument = parse_spec(spec)
        if not SCHEMES[scheme].generates:
            fix = f"Its videos need no generating: synvita build --synthetic {spec}"
            raise SourceError(f"{scheme}: does not generate", found=spec, fix=fix)
        overrides = parse_overrides(settings)
        if scheme == "command":
            words = open_command(argument, overrides, None, None).recipe.settings["template"].split()
            _program(needs, words[0])
            return
        needs.checks.append(extra_check("generate"))
        if scheme == "diffusers":
            _pipeline(needs, argument, overrides, hub, machine)
        else:
            _local_generator(needs, scheme, Path(argument).expanduser(), overrides)
    except SynvitaError as error:
        needs.failed("generator", error)


def _program(needs: Needs, program: str) -> None:
    found = shutil.which(program)
    if found is None:
        needs.bad("generator", f"there is no program {program}", "Check the template, and PATH")
    else:
        needs.ok("generator", f"the program {found}")


def _local_generator(needs: Needs, scheme: str, folder: Path, overrides: dict[str, Any]) -> None:
    """LaVie and VideoCrafter2: files that their instructions name, in a folder."""
    kind = lavie if scheme == "lavie" else videocrafter2
    wanted = [lavie.WEIGHTS, f"{lavie.BASE}/unet/config.json"]
    if kind is videocrafter2:
        weights = next((name for name in kind.WEIGHTS if (folder / name).is_file()), kind.WEIGHTS[0])
        wanted = [weights, f"{kind.TOKENIZER}/vocab.json"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        needs.bad(
            "generator", f"{folder} lacks {', '.join(missing)}", "docs/generating.md says where it is from"
        )
        return
    own = {key: value for key, value in overrides.items() if key != "fps_condition"}
    chosen, _ = pipeline_settings(kind.PIPELINE, {}, scheme, own, kind.PRESET)
    needs.ok("generator", f"{scheme} in {folder}: {_shown(chosen)}")


def _pipeline(
    needs: Needs, argument: str, overrides: dict[str, Any], hub: HubQuestions, machine: Machine
) -> None:
    """A pipeline of diffusers: its components, their bytes, and the settings it would be called with."""
    files = locate(argument)
    facts = look_at(files.location, files.revision, hub=hub)
    index = None if facts.problem is not None else read_settings(facts, MODEL_INDEX, hub)
    if index is not None:
        components = [name for name, value in index.items() if isinstance(value, list) and any(value)]
        facts = look_at(
            files.location, files.revision, hub=hub, wanted=lambda paths: pipeline_files(paths, components)
        )
    needs.repositories.append(facts)
    needs.add(repository_checks(facts, "generator"))
    if facts.problem is not None:
        return
    if index is None:
        fix = "Give a folder of save_pretrained, or a repository with model_index.json"
        needs.bad("generator", f"{argument} is not a pipeline of diffusers: no {MODEL_INDEX}", fix)
        return
    configs = {part: read_settings(facts, f"{part}/config.json", hub) or {} for part in _SETTINGS}
    pipeline = str(index.get("_class_name"))
    chosen, placement = pipeline_settings(
        pipeline, {"model_index": index, **configs}, files.location, overrides
    )
    needs.ok("settings", _shown(chosen))
    needs.memory = _generation_memory(facts, str(chosen["dtype"]))
    offload = placement.get("offload")
    if offload in (None, "none"):
        needs.checks.append(memory_check(needs.memory, machine))
        needs.warn("memory", "activations and decoding come on top; they were not measured (docs/scale.md)")
    else:
        needs.ok("memory", f"offload {offload}: parts wait in main memory")


def _generation_memory(facts: RepositoryFacts, dtype: str) -> Memory | None:
    return Memory((weights_part(facts.parameters, dtype),)) if facts.parameters else None


def _shown(settings: dict[str, Any]) -> str:
    names = (
        "pipeline",
        "preset",
        "frames",
        "height",
        "width",
        "fps",
        "steps",
        "guidance",
        "dtype",
        "vae_dtype",
    )
    return ", ".join(f"{name} {settings[name]}" for name in names if settings.get(name) is not None)


# -- vqascore ----------------------------------------------------------------------------------------------


def vqascore_needs(
    triplets: Path,
    synthetic: str,
    models: Sequence[str],
    out: Path,
    *,
    whole_video: bool = False,
    frames: int = 4,
    rule: str = "segment-midpoints",
    backend: str = "pyav",
    preprocess: str = "reference",
    dtype: str | None = None,
    devices: Sequence[str] | None = None,
    split: str | None = None,
    source: str | None = None,
    hub: HubQuestions | None = None,
    machine: Machine | None = None,
) -> Needs:
    """What scoring videos with VQA models needs; see `build_needs`. Arguments are the command's options."""
    needs, hub, machine = Needs("vqascore"), hub or HubQuestions(), machine or look_at_machine()
    read = read_triplets(needs, triplets, split, source)
    synthetic_needs(needs, synthetic, read, hub=hub, machine=machine)
    if (decoder := decoder_check(backend)) is not None:
        needs.checks.append(decoder)
    needs.ok("frames", f"{frames} frames, {rule}")
    loaded = dtype or default_dtype(devices)
    vqa_models(
        needs,
        models,
        hub=hub,
        machine=machine,
        dtype=loaded,
        device=_first(devices),
        whole_video=whole_video,
        preprocess=preprocess,
    )
    if out.suffix.lower() != ".parquet":
        needs.bad("out", f"{out} is not named as a Parquet file", "Name a file that ends with .parquet")
    elif (refused := writable_check(out.parent)) is not None:
        needs.checks.append(refused)
    else:
        work = (out.parent / ".work").is_dir()
        needs.ok("out", f"scores go into {out}" + (", work in progress is beside it" if work else ""))
    needs.add(disk_checks([("to fetch from the Hub", cache_folder(), needs.bytes_to_fetch)]))
    return needs


def vqa_models(
    needs: Needs,
    models: Sequence[str],
    *,
    hub: HubQuestions,
    machine: Machine,
    dtype: str,
    device: str | None = None,
    whole_video: bool = False,
    preprocess: str = "reference",
) -> None:
    """Add what VQA models need, which run one after another.

    Args:
        needs: takes it.
        models: aliases, Hub ids or folders.
        hub: asks.
        machine: this one.
        dtype: that weights are loaded in.
        device: that is named.
        whole_video: whether frames are shown as one video.
        preprocess: name of the way in which frames become squares.
    """
    needs.checks.append(extra_check("score"))
    largest: Memory | None = None
    for name in models:
        found = find_model(needs, name, aliases=ALIASES, hub=hub)
        if found is None:
            continue
        memory = scoring_memory(found.base.parameters, dtype, name)
        if memory is not None and (largest is None or memory.total > largest.total):
            largest = memory
        config = found.settings
        if config is None:
            continue
        if whole_video and config.get("model_type") not in FAMILIES:
            fix = "Score it frame by frame: leave --whole-video out"
            needs.bad(
                "model", f"{name} cannot see a whole video (model_type {config.get('model_type')!r})", fix
            )
            continue
        kind = next(kind for kind in KINDS if KINDS[kind].matches(config))
        shape = KINDS[kind].shapes.get(preprocess, "its own processor")
        needs.ok("preprocessing", f"{name}: {'whole video' if whole_video else kind}, frames by {shape}")
        tower = config.get("mm_vision_tower")
        if kind == "clip-flant5" and isinstance(tower, str) and found.base.origin != "folder":
            vision = look_at(tower, hub=hub, wanted=lambda paths: {CONFIG} & set(paths))
            needs.repositories.append(vision)
            needs.add(repository_checks(vision, "vision tower"))
    needs.ok("dtype", f"weights are loaded in {dtype}")
    if preprocess not in PREPROCESSING:
        needs.bad("preprocessing", f"unknown: {preprocess}", f"One of {', '.join(PREPROCESSING)}")
    needs.memory = largest
    needs.checks.append(memory_check(largest, machine, device=device))


# -- push --------------------------------------------------------------------------------------------------


def push_needs(
    folder: Path,
    repo: str,
    tag: str,
    *,
    private: bool = False,
    token: bool | None = None,
    hub: HubQuestions | None = None,
) -> Needs:
    """What publishing a dataset needs; nothing is sent.

    Args:
        folder: of the dataset.
        repo: OWNER/NAME.
        tag: the version.
        private: whether a private repository is asked for.
        token: whether one was named; None looks for a stored one.
        hub: to share answers with other looks.
    """
    needs, hub = Needs("push"), hub or HubQuestions()
    found = find_data(needs, str(folder), hub=hub) if folder.expanduser().is_dir() else None
    if not folder.expanduser().is_dir():
        needs.bad("data", f"{folder} is not a folder", "Name the folder that `synvita build` made")
    if found is not None:
        needs.ok("data", f"{size(found.facts.bytes)} in {len(found.facts.files)} files, at most, to send")
    try:
        check_version_tag(tag)
    except SynvitaError as error:
        needs.failed("tag", error)
    if not REPO_ID.fullmatch(repo) or ".." in repo or "--" in repo:
        needs.bad("repository", f"{repo} is not the name of a repository", "OWNER/NAME")
        return needs
    if has_token() if token is None else token:
        needs.ok("token", "a token is set; whether it may write is known when it is tried (--dry-run asks)")
    else:
        needs.bad("token", "no token for the Hub is set", "Set HF_TOKEN, or run `hf auth login`")
    _target(needs, repo, private, hub)
    return needs


def _target(needs: Needs, repo: str, private: bool, hub: HubQuestions) -> None:
    """What lies under the name to publish under."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = hub.info(repo, None, "dataset")
    except HubError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError) and not isinstance(
            error.__cause__, GatedRepoError
        ):
            needs.ok(
                "repository", f"{repo} does not exist yet, or the token may not see it: it would be created"
            )
        else:
            needs.checks.append(check_of("repository", error))
        return
    if info is None:
        fix = "Publishing needs the Hub"
        needs.bad("repository", f"the Hub could not be asked about {repo} ({hub.out_of_reach})", fix)
        return
    if info.id.lower() != repo.lower():
        needs.warn("repository", f"{repo} is called {info.id} today", f"Name {info.id}")
    if private and not info.private:
        needs.bad(
            "repository", f"{repo} is public already", "Make it private on the Hub, or leave --private out"
        )
    else:
        needs.ok(
            "repository",
            f"{repo} is there, {'private' if info.private else 'public'}, at {str(info.sha)[:10]}",
        )


# -- what several read -------------------------------------------------------------------------------------


def read_triplets(needs: Needs, file: Path, split: str | None, source: str | None) -> ReadTriplets:
    """Read an annotation file as far as a few seconds go, and add what was found.

    Args:
        needs: takes it.
        file: with two captions a row.
        split: for rows that do not say.
        source: for rows that do not say.
    """
    read, bad, end = ReadTriplets(), list[SynvitaError](), time.monotonic() + SECONDS
    try:
        for triplet in open_triplets(file, split=split, source=source, on_bad=bad.append):
            read.triplets.append(triplet)
            if time.monotonic() > end:
                read.whole = False
                break
    except SynvitaError as error:
        needs.failed("triplets", error)
        return read
    counted = f"{len(read.triplets):,} triplets" + ("" if read.whole else " and more")
    if not read.triplets:
        needs.bad("triplets", f"{file}: no row can be used" + (f", first: {bad[0]}" if bad else ""))
    elif bad:
        needs.warn("triplets", f"{file}: {counted}; {len(bad):,} rows cannot be used, first: {bad[0]}")
    else:
        needs.ok("triplets", f"{file}: {counted}")
    return read


def synthetic_needs(
    needs: Needs,
    spec: str,
    read: ReadTriplets,
    *,
    settings: Sequence[str] = (),
    samples: int = 1,
    embed: bool = False,
    hub: HubQuestions,
    machine: Machine,
) -> int:
    """Add where synthetic videos come from, and for how many triplets there is one; bytes that are embedded.

    Args:
        needs: takes it.
        spec: `folder:DIR`, a generator, ….
        read: the triplets.
        settings: of a generator.
        samples: videos a caption.
        embed: whether the authors' videos are embedded, and not referred to.
        hub: asks.
        machine: this one.
    """
    try:
        scheme, argument = parse_spec(spec)
        if scheme in GENERATORS:
            generator_needs(needs, spec, settings, hub=hub, machine=machine)
            return len(read.triplets) * samples * _VIDEO_BYTES
        if SCHEMES[scheme].released:
            return _authors_videos(needs, scheme, argument, embed=embed, hub=hub)
        if scheme != "folder":
            needs.ok("synthetic", f"{spec} makes its own")
            return 0
        found = open_source(spec).find(read.triplets)
    except SynvitaError as error:
        needs.failed("synthetic", error)
        return 0
    wanted = {triplet.pair_id for triplet in read.triplets}
    total, there = len(wanted), len(wanted & found.videos.keys())
    text = f"{there:,} of {total:,} pairs have a synthetic video in {argument}"
    if found.unmatched:
        text += f"; {len(found.unmatched):,} files belong to none, first: {found.unmatched[0]}"
    if found.quarantined:
        needs.warn(
            "synthetic", f"{len(found.quarantined):,} files cannot be used, first: {found.quarantined[0]}"
        )
    if not there and total:
        needs.bad("synthetic", text, "docs/building.md says how files are named")
    elif there < total:
        needs.warn("synthetic", text, "Rows without one have no synthetic video")
    else:
        needs.ok("synthetic", text)
    return sum(_bytes_of(video.path for videos in found.videos.values() for video in videos))


def _authors_videos(needs: Needs, scheme: str, argument: str, *, embed: bool, hub: HubQuestions) -> int:
    """The authors' videos: what their repository or folder lists. Which belong to which pair the build says."""
    if scheme == "hf":
        files = locate(argument)
        facts = look_at(files.location, files.revision, "dataset", hub=hub)
        needs.repositories.append(facts)
        needs.add(repository_checks(facts, "synthetic"))
        if facts.problem is not None:
            return 0
    else:
        folder = Path(argument).expanduser()
        needs.checks.append(folder_check(folder, "synthetic", "the authors' videos"))
        if not folder.is_dir():
            return 0
        facts = look_at(str(folder), kind="dataset", hub=hub)
    videos = [file for file in facts.files if Path(file.path).suffix.lower() == ".mp4"]
    archives = [file for file in facts.files if archive_kind(file.path) is not None]
    text = f"{len(videos):,} loose mp4 files and {len(archives):,} archives in {argument}"
    if videos or archives:
        needs.ok("synthetic", text)
    elif facts.files:
        needs.bad("synthetic", text, "docs/building.md says how the authors' videos are named")
    if embed and facts.licence is None:
        needs.warn(
            "licence", f"{argument} states none, and its videos are embedded", "Leave --embed-synthetic out"
        )
    return sum(file.size or 0 for file in (*videos, *archives)) if embed else 0


def _bytes_of(paths: Iterable[Path]) -> Iterable[int]:
    return (path.stat().st_size for path in paths if path.is_file())


def real_videos(needs: Needs, triplets: Sequence[Triplet], root: Path, mapping: Path | None) -> None:
    """Add how many triplets find their real video.

    Args:
        needs: takes it.
        triplets: that name one each.
        root: folder of real videos.
        mapping: which file is which video.
    """
    try:
        videos = RealVideos(root, mapping)
    except SynvitaError as error:
        needs.failed("videos", error)
        return
    found = looked = 0
    end = time.monotonic() + SECONDS
    for triplet in triplets:
        looked += 1
        found += videos.find_triplet(triplet) is not None
        if time.monotonic() > end:
            break
    of = f"{looked:,} triplets" + (
        f" of {len(triplets):,}, as far as time went," if looked < len(triplets) else ""
    )
    text = f"{found:,} of {of} find their real video under {root}"
    if found == looked:
        needs.ok("videos", text)
    else:
        needs.warn(
            "videos", text, "docs/videos.md says where real videos are from; a mapping names other files"
        )


def _first(devices: Sequence[str] | None) -> str | None:
    return devices[0] if devices else None
