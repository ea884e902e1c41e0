"""What a build is asked to do."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.captions.lcs import GRANULARITIES
from synvita_data.errors import SynvitaError, choose
from synvita_data.files import folder_name
from synvita_data.jobs import JobProgress, RunOptions
from synvita_data.weights import WEIGHTINGS

from ..sources.manifest import public_spec
from ..sources.registry import ORDERS, RELEASED, parse_spec
from .card import ALL_CONFIG

if TYPE_CHECKING:
    from ..vqascore import VqaSettings

# A config is a folder of the dataset: it must not be another thing of that folder, on any file system.
RESERVED = frozenset(
    {ALL_CONFIG, "figures", "data", "readme.md", "build.json", "quarantine.jsonl"}
    | {"license", "notice", "citation.cff", "eval.yaml"}
)
MAX_SHARD_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What a build makes on its way, where it is given a generator and VQA models instead of ready files.

        captions → generate → score → (the build)

    Both steps run on stores under the build's `.work`, so the whole chain continues where it was killed.

    Attributes:
        samples: videos a contrast caption.
        overrides: `key=value` settings of the generator.
        generator_name: recorded for its videos; None for the model's own name.
        prompt_too_long: see `generators.generate_videos`.
        models: VQA models by name (`vqascore.find_model`), `NAME@REVISION` for one of the Hub; none of them
            leaves scoring out.
        settings, score: how they look at videos; see `vqascore.score_videos`.
        run: how the jobs are run.
        on_progress: called with how far a job is.
        on_prompts: called with its line about captions that are too long.

    Raises:
        SynvitaError: numbers that cannot be used.
    """

    samples: int = 1
    overrides: Sequence[str] = ()
    generator_name: str | None = None
    prompt_too_long: str = "warn"
    models: Sequence[str] = ()
    settings: "VqaSettings | None" = None
    score: str | None = None
    run: RunOptions = field(default_factory=RunOptions)
    on_progress: Callable[[JobProgress], None] | None = field(default=None, compare=False)
    on_prompts: Callable[[str, int], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_positive(samples=self.samples)

    @property
    def making(self) -> dict[str, Any]:
        """Arguments of `generators.generate_videos`, for a source that has to make its videos."""
        return {
            "samples": self.samples,
            "overrides": tuple(self.overrides),
            "name": self.generator_name,
            "prompt_too_long": self.prompt_too_long,
            "on_prompts": self.on_prompts,
            "run": self.run,
            "on_progress": self.on_progress,
        }


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Inputs and settings of one config of a dataset.

    Attributes:
        triplets: annotation file (VideoCon's CSVs, or any CSV, JSONL or Parquet with two captions).
        out: dataset folder; other configs in it are kept.
        config: name of the config, usually that of the generator.
        synthetic: SPEC of the synthetic videos (`folder:DIR`, `shapes:…`, or a generator that makes them:
            `diffusers:REPO_OR_DIR`, …), None for a dataset without videos.
        vqascores: scores table, Parquet or long CSV; None leaves weights null, unless `chain` names models.
        chain: how videos are generated and scored on the way.
        real_root, real_mapping: where the user's real videos lie, to report coverage or to embed them.
        generator: of the authors' videos (`hf:`, `root:`), where their paths do not say; where they do, its videos alone.
        order: how names of theirs that fit several contrast captions are read; see `sources.registry.Reading`.
        embed_synthetic: put their videos into the Parquet files; without it rows refer to them. Videos of other
            sources are embedded always.
        on_note: called with lines for the user about them, before anything is fetched.
        embed_real: put the real videos into the Parquet files. For private use: the licences of the
            sources forbid redistribution.
        weighting: name of a strategy in `weights.WEIGHTINGS`.
        granularity, ignore_case: of the masks (`lcs.shared_spans`).
        tokenizer: folder or file of a fast tokenizer (`tokenizer.json`) or its Hub id, for masks that
            are not word-level.
        split, source: for annotation files that do not say.
        max_shard_bytes: a shard is closed before it grows beyond this.
        threads: that check videos.
        limit: take only the first so many triplets, for a trial; None for all.

    Raises:
        SynvitaError: a setting is not usable; nothing has been read yet.
    """

    triplets: Path
    out: Path
    config: str
    synthetic: str | None = None
    generator: str | None = None
    order: str | None = None
    embed_synthetic: bool = False
    on_note: Callable[[str], None] | None = field(default=None, compare=False)
    vqascores: Path | None = None
    real_root: Path | None = None
    real_mapping: Path | None = None
    embed_real: bool = False
    weighting: str = "difference"
    granularity: str = "word"
    ignore_case: bool = False
    tokenizer: str | None = None
    split: str | None = None
    source: str | None = None
    max_shard_bytes: int = MAX_SHARD_BYTES
    threads: int = 2
    limit: int | None = None
    chain: Chain = field(default_factory=Chain)

    def __post_init__(self) -> None:
        if self.synthetic is not None:
            parse_spec(self.synthetic)  # before a name that may follow from it
        usable = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?", self.config)
        if not usable or self.config.lower() in RESERVED:
            raise SynvitaError(
                "not usable as a config name",
                found=self.config,
                expected=f"letters, digits, '_', '.', '-', and none of {', '.join(sorted(RESERVED))}",
                fix="Name it with --config",
            )
        choose(self.weighting, WEIGHTINGS, "weighting")
        choose(self.granularity, GRANULARITIES, "granularity")
        if (self.granularity == "word") != (self.tokenizer is None):
            raise SynvitaError(
                "word-level masks need no tokenizer, the others need one",
                found=f"granularity {self.granularity!r}, tokenizer {self.tokenizer!r}",
            )
        if self.order is not None:
            choose(self.order, ORDERS, "order")
        if not self.of_authors and (self.generator is not None or self.order is not None):
            raise SynvitaError(
                "--generator and --order are for the authors' videos",
                found=f"--synthetic {public_spec(self.synthetic)}",
                expected="--synthetic hf:OWNER/NAME, or --synthetic-root DIR",
                fix="Name a config with --config",
            )
        if (self.embed_real or self.real_mapping is not None) and self.real_root is None:
            raise SynvitaError(
                "--embed-real and --real-mapping need --real-root", fix="Say where the real videos lie"
            )
        if self.chain.models and (self.vqascores is not None or self.synthetic is None):
            videos = "no synthetic videos" if self.synthetic is None else f"table {self.vqascores}"
            raise SynvitaError(
                "VQA models score the synthetic videos when there is no score table yet",
                found=f"models {', '.join(self.chain.models)}, {videos}",
                fix="Leave out --vqascores or --vqa-model, and name the videos with --synthetic",
            )
        limit = 1 if self.limit is None else self.limit
        _check_positive(max_shard_bytes=self.max_shard_bytes, threads=self.threads, limit=limit)

    @property
    def work(self) -> Path:
        """Where a build keeps what a next run takes up: checks, shards, and the videos and scores it makes."""
        return self.out / ".work"

    @property
    def of_authors(self) -> bool:
        """Whether the synthetic videos are read as SynViTA's authors publish theirs."""
        return (self.synthetic or "").partition(":")[0].strip().lower() in RELEASED

    @property
    def refers(self) -> bool:
        """Whether rows refer to their synthetic videos instead of holding them."""
        return self.of_authors and not self.embed_synthetic

    @property
    def granularity_name(self) -> str:
        """The published `shared.granularity`."""
        return self.granularity + ("-ignore-case" if self.ignore_case else "")

    def recorded(self) -> dict[str, Any]:
        """What the report keeps: settings and file names, no absolute paths."""
        models = {"vqa_models": [_without_path(name) for name in self.chain.models]}
        return {
            "triplets": self.triplets.name,
            "vqascores": self.vqascores.name if self.vqascores else None,
            **(models if self.chain.models else {}),
            "synthetic": public_spec(self.synthetic),
            **({"embed_synthetic": self.embed_synthetic, "order": self.order} if self.of_authors else {}),
            "embed_real": self.embed_real,
            **({} if self.limit is None else {"limit": self.limit}),
            "weighting": self.weighting,
            "granularity": self.granularity_name,
            "tokenizer": None if self.tokenizer is None else Path(self.tokenizer).name,
        }


def check_inputs(
    triplets: Path | None, captions: str | None, writer: str | None, of_writer: Sequence[str] = ()
) -> None:
    """Refuse inputs of `synvita build` that do not go together.

    Args:
        triplets, captions, writer: as given.
        of_writer: options that were given and only say something with a writer.

    Raises:
        SynvitaError: both inputs or none, or a writer without captions.
    """
    if (triplets is None) == (captions is None):
        raise SynvitaError(
            "a dataset is built of triplets, or of captions alone",
            found="neither --triplets nor --captions" if triplets is None else "--triplets and --captions",
            expected="--triplets FILE, or --captions FILE with --writer WRITER",
        )
    if (captions is None) != (writer is None):
        raise SynvitaError("--captions and --writer go together", fix="Give both, or --triplets FILE")
    if captions is None and of_writer:
        raise SynvitaError(
            "options of a writer, and nothing to write",
            found=", ".join(of_writer),
            fix="Leave them out, or give --captions",
        )


def chosen_synthetic(synthetic: str | None, synthetic_root: Path | None) -> str | None:
    """The SPEC of synthetic videos that --synthetic or --synthetic-root says.

    Raises:
        SynvitaError: both say one.
    """
    if synthetic_root is None:
        return synthetic
    if synthetic is not None:
        raise SynvitaError(
            "synthetic videos come from one place",
            found=f"--synthetic {synthetic} and --synthetic-root {synthetic_root}",
            fix="Leave one of them out",
        )
    return f"root:{synthetic_root}"


def default_config(synthetic: str | None, generator: str | None = None) -> str:
    """The name of a config where none is given."""
    if synthetic is None:
        return "default"
    scheme, _, argument = synthetic.partition(":")
    if scheme == "hf":
        argument = argument.partition("@")[0]
    named = scheme in ("folder", "root", "hf", "diffusers") and folder_name(Path(argument))
    return generator or named or scheme


def _check_positive(**numbers: int) -> None:
    if min(numbers.values()) < 1:
        raise SynvitaError(
            "sizes and counts start at 1", found=", ".join(f"{name}={n}" for name, n in numbers.items())
        )


def _without_path(model: str) -> str:
    """A Hub id as it is, a folder by its last name."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model
