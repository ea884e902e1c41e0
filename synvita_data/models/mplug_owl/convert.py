"""The released checkpoint as a folder that every Auto class loads: safetensors, settings, tokenizer, processor."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import SynvitaError
from ...files import new_folder, read_json
from ..released.conversion import (
    PROVENANCE,
    SHARD_BYTES,
    check_answers,
    provenance,
    read_llama_tokenizer,
    write_json,
    write_shards,
)
from ..released.weights import read_state_dict, used_files
from .configuration import MplugOwlConfig
from .processing import MplugOwlProcessor, MplugOwlVideoProcessor
from .released import checked, read_config

# The Hub has two uploads under one name (https://huggingface.co/MAGAer13/mplug-owl-llama-7b-video/commits/main):
# SHA-256 of `pytorch_model.bin` -> what is known of it.
UPLOADS = {
    "553029b486c521ceec301881cbec0556873e1fb0191267e40292eb061cbf5d40": (
        "the first upload (3 July 2023, revisions aba3b07 to b10a60f), which gave NaN to some; owl-con is older than "
        "the second"
    ),
    "7bf9c821075524e0ef7692552814a67de82c112d7341a2e7d6603ec51a13421b": (
        "the second upload (8 November 2023, revision fe6a4ca53c5a30cfaaf0809c9442d207de641ed7 = main)"
    ),
}
NOT_FINITE = "The first upload of the released model was faulty: take the revision in docs/mplug_owl.md"


def convert_mplug_owl(
    source: str | Path,
    out: str | Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Convert a folder as released (`MAGAer13/mplug-owl-llama-7b-video`) into `out`, all of it or nothing.

    Weights keep their dtype. Memory holds one file of `shard_bytes`.

    Args:
        source: the folder as released.
        out: the folder to make.
        shard_bytes: of a file of weights, at most.
        say: takes lines on the progress.

    Returns:
        What was written: `tensors`, `parameters` (numbers in them), `dtypes`, `shards` (files of weights), and
        `answers`, the ids of Yes and No.

    Raises:
        SynvitaError: `out` is there already; weights are missing, left over, of another shape or not finite;
            no LLaMA tokenizer; files that cannot be read.
    """
    source, out = Path(source), Path(out)
    with new_folder(out) as folder:
        config = read_config(source)
        processor = read_processor(source, config)
        answers = check_answers(processor.tokenizer, config.text_config.vocab_size, source)
        weights = checked(read_state_dict(source), config, source)
        made_of = provenance(source, used_files(source))
        for line in _which_upload(made_of["files"]):
            say(line)
        parameters = sum(tensor.numel() for tensor in weights.values())
        say(f"{len(weights):,} weights with {parameters:,} numbers, all that the model has")
        shards = write_shards(folder, weights, shard_bytes, advice=NOT_FINITE)
        dtypes = tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}))
        config.architectures = ["MplugOwlForConditionalGeneration"]
        if len(dtypes) == 1:
            config.dtype = dtypes[0]
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        legacy = {"legacy": bool(getattr(processor.tokenizer, "legacy", False))}
        write_json(folder / PROVENANCE, {**made_of, "tokenizer": legacy})
    say(f"Wrote {out}: {shards} file{'s' if shards > 1 else ''} of weights in {', '.join(dtypes)}")
    return {
        "tensors": len(weights),
        "parameters": parameters,
        "dtypes": dtypes,
        "shards": shards,
        "answers": answers,
    }


def _which_upload(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What to say of the weights' files: which upload of the released model each is."""
    return [
        f"{name}, sha256 {facts['sha256']}: "
        + UPLOADS.get(
            facts["sha256"], "neither of the two known uploads of MAGAer13/mplug-owl-llama-7b-video"
        )
        for name, facts in files.items()
    ]


def read_processor(folder: Path, config: MplugOwlConfig) -> MplugOwlProcessor:
    """The processor of a folder as released: `tokenizer.model`, mean and deviation of `preprocessor_config.json`.

    Raises:
        TokenizerError: no `tokenizer.model`, or one that cannot be read.
    """
    tokenizer = read_llama_tokenizer(folder, pad_token="<unk>", padding_side="right")
    side = config.vision_config.image_size
    settings = _preprocessor_settings(folder / "preprocessor_config.json")
    return MplugOwlProcessor(
        video_processor=MplugOwlVideoProcessor(size={"height": side, "width": side}, **settings),
        tokenizer=tokenizer,
        tokens_per_video=config.tokens_per_video,
    )


def _preprocessor_settings(path: Path) -> dict[str, Any]:
    """CLIP's mean and deviation, or what the file says instead; the rest of it is the architecture's."""
    if not path.is_file():
        return {}
    raw = read_json(path, "a processor's settings")
    try:
        return {name: [float(x) for x in raw[name]] for name in ("image_mean", "image_std") if name in raw}
    except (ValueError, TypeError) as error:
        raise SynvitaError("a processor's settings cannot be read", file=path, found=str(error)) from error
