"""Preference data in the formats of ms-swift, LLaMA-Factory and TRL; docs/export.md says where each is documented.

    export_preferences("ms-swift", "my-dataset", "out", real_root="videos")

Each line of a file is one sample, with four columns beside those of the format (`id`, `kind`, `misalignment`,
`weight`), which all three programs drop before they train.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import __version__
from ..captions.prompts import Prompt, bare_prompt, get_prompt
from ..display import json_text
from ..errors import SchemaError, choose
from ..files import new_folder, write_atomic
from .load import load_triplets
from .preference import RECORD, Clip, Sample, Samples, VideoStore, check_included

VIDEO = "<video>"


@dataclass(frozen=True)
class Format:
    """How one program wants preference data.

    Args:
        prompt: the entailment question.
        folder: where the export will be, for paths that must be absolute.
        frames: of a video, where the format has pictures instead of videos.

    Attributes:
        pairs_of_videos: the format has a video for each answer.
        parts: it can name a part of a file.
        suffix: of its files.
    """

    prompt: Prompt
    folder: Path
    frames: int

    pairs_of_videos: ClassVar[bool] = False
    parts: ClassVar[bool] = False
    suffix: ClassVar[str] = ".jsonl"

    def line(self, sample: Sample) -> dict[str, Any]:
        """A sample as the program reads it."""
        raise NotImplementedError

    def files(self, splits: Mapping[str, str]) -> dict[str, Any]:
        """What stands beside the data: name -> content as JSON.

        Args:
            splits: split -> name of its file.
        """
        return {}

    def use(self, splits: Mapping[str, str]) -> str:
        """How the program is told of the export, for the printout."""
        raise NotImplementedError

    def ask(self, sample: Sample) -> str:
        return self.prompt.wrap(sample.caption)

    def absolute(self, clip: Clip) -> str:
        return str(self.folder / clip.path)


class MsSwift(Format):
    """`messages` and `videos` of the chosen answer, `rejected_messages` and `rejected_videos` of the rejected one."""

    pairs_of_videos = True

    def line(self, sample: Sample) -> dict[str, Any]:
        def messages(answer: str) -> list[dict[str, str]]:
            return [
                {"role": "user", "content": VIDEO + self.ask(sample)},
                {"role": "assistant", "content": answer},
            ]

        return {
            "messages": messages(sample.chosen),
            "videos": [self.absolute(sample.chosen_clip)],
            "rejected_messages": messages(sample.rejected),
            "rejected_videos": [self.absolute(sample.rejected_clip)],
        }

    def use(self, splits: Mapping[str, str]) -> str:
        return f"swift rlhf --rlhf_type dpo --dataset {self.folder / next(iter(splits.values()))} --model …"


class LlamaFactory(Format):
    """The sharegpt format with `ranking`, a list of objects in a file, and `dataset_info.json`; media below the folder."""

    suffix = ".json"

    def line(self, sample: Sample) -> dict[str, Any]:
        return {
            "conversations": [{"from": "human", "value": VIDEO + self.ask(sample)}],
            "chosen": {"from": "gpt", "value": sample.chosen},
            "rejected": {"from": "gpt", "value": sample.rejected},
            "videos": [sample.chosen_clip.path],
        }

    def files(self, splits: Mapping[str, str]) -> dict[str, Any]:
        columns = {
            "messages": "conversations",
            "chosen": "chosen",
            "rejected": "rejected",
            "videos": "videos",
        }
        return {
            "dataset_info.json": {
                f"synvita_{split}": {
                    "file_name": name,
                    "formatting": "sharegpt",
                    "ranking": True,
                    "columns": columns,
                }
                for split, name in splits.items()
            }
        }

    def use(self, splits: Mapping[str, str]) -> str:
        return f"in LLaMA-Factory's YAML: stage: dpo, dataset_dir: {self.folder}, dataset: synvita_{next(iter(splits))}"


class Trl(Format):
    """`prompt`, `chosen`, `rejected` as messages and `images`, which `load_preferences` decodes when they are read."""

    parts = True

    def line(self, sample: Sample) -> dict[str, Any]:
        clip = sample.chosen_clip
        return {
            "prompt": [{"role": "user", "content": self.ask(sample)}],
            "chosen": [{"role": "assistant", "content": sample.chosen}],
            "rejected": [{"role": "assistant", "content": sample.rejected}],
            "images": [
                {
                    "video": clip.path,
                    "start": clip.start,
                    "end": clip.end,
                    "frame": frame,
                    "frames": self.frames,
                }
                for frame in range(self.frames)
            ],
        }

    def use(self, splits: Mapping[str, str]) -> str:
        return (
            "from synvita_data.dataset.preference_frames import load_preferences; "
            f"DPOTrainer(model, train_dataset=load_preferences({str(self.folder)!r}, {next(iter(splits))!r}))"
        )


FORMATS: dict[str, type[Format]] = {"ms-swift": MsSwift, "llama-factory": LlamaFactory, "trl": Trl}


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        folder: of the export.
        samples: split -> how many.
        left_out: reason -> rows.
        videos: synthetic videos that were written as files.
        real: samples that name a real video.
        use: how the program is told of it.
    """

    folder: Path
    samples: dict[str, int]
    left_out: dict[str, int]
    videos: int
    real: int
    use: str


def export_preferences(
    tool: str,
    dataset: str | Path,
    out: str | Path,
    *,
    config: str | None = None,
    revision: str | None = None,
    splits: list[str] | None = None,
    real_root: str | Path | None = None,
    mapping: str | Path | None = None,
    synthetic_root: str | Path | None = None,
    include: str | None = None,
    min_weight: float | None = None,
    prompt: str = "question",
    frames: int = 8,
    token: str | None = None,
) -> Exported:
    """Write the rows of a dataset as preference data of a program, into a new folder that appears when it is complete.

    Args:
        tool: one of `FORMATS`.
        dataset: as for `load_triplets`.
        out: folder to make.
        config, revision, real_root, mapping, synthetic_root, token: as for `load_triplets`.
        splits: to export; None for all.
        include: `real`, `synthetic` or `both`; None: both with `real_root`, else synthetic.
        min_weight: leave out synthetic videos of a lower or unknown weight; those of weight 0 always are.
        prompt: whose wording of the question is used; the program puts its own chat template around it.
        frames: of a video, for TRL.

    Raises:
        SynvitaError: an unknown program, prompt, split or kind of videos, an `out` that is there already, real videos
            without their folder, or no sample at all.
    """
    form_of = FORMATS[choose(tool, FORMATS, "program to export to")]
    if frames < 1:
        raise SchemaError("a video has at least one frame", found=frames, expected="--frames of 1 or more")
    if min_weight is not None and not 0 <= min_weight <= 1:
        raise SchemaError("a weight is between 0 and 1", found=min_weight, expected="--min-weight in [0, 1]")
    include = check_included(include, real_root is not None)
    target = Path(out).expanduser().absolute()
    form = form_of(bare_prompt(get_prompt(prompt)), target, frames)
    loaded = load_triplets(
        dataset,
        config,
        revision,
        real_root=real_root,
        mapping=mapping,
        synthetic_root=synthetic_root,
        token=token,
    )
    chosen = [choose(name, loaded, "split", error=SchemaError) for name in splits or loaded]

    with new_folder(target) as folder:
        store = VideoStore(folder)
        maker = Samples(include, form.pairs_of_videos and include == "both", form.parts, min_weight, store)
        counts, names, real = dict[str, int](), dict[str, str](), 0
        for split in chosen:
            path = folder / f"{split}{form.suffix}"
            written, of_real = _write(path, form, maker.of(loaded[split]))
            if written:
                counts[split], names[split] = written, path.name
                real += of_real
            else:
                path.unlink()
        left_out = dict(sorted(maker.left_out.items()))
        if not counts:
            raise SchemaError(
                "no row gives a sample",
                file=str(dataset),
                found="; ".join(f"{reason} ({rows:,} rows)" for reason, rows in left_out.items())
                or "no rows",
                expected="rows with videos that the format can name",
                fix="Give --real-root, or another --include or --min-weight",
            )
        record = {
            "format": tool,
            "dataset": str(dataset),
            "config": config,
            "revision": revision,
            "prompt": prompt,
            "question": form.prompt.wrap("…"),
            "include": include,
            "min_weight": min_weight,
            **({"frames": frames} if form_of is Trl else {}),
            "samples": counts,
            "left_out": left_out,
            "names_real_videos": real > 0,
            "synvita_data": __version__,
        }
        for name, content in {**form.files(names), RECORD: record}.items():
            write_atomic(folder / name, json_text(content, indent=2) + "\n")
    return Exported(target, counts, left_out, len(store.written), real, form.use(names))


def _write(path: Path, form: Format, samples: Iterator[Sample]) -> tuple[int, int]:
    """Write samples one by one, as lines or as one list; how many, and how many name a real video."""
    listed = form.suffix == ".json"
    count = real = 0
    with ExitStack() as stack:
        handle = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        for sample in samples:
            line = {
                **form.line(sample),
                "id": sample.id,
                "kind": sample.kind,
                "misalignment": sample.misalignment,
                "weight": sample.weight,
            }
            if listed:
                handle.write(",\n" if count else "[\n")
            handle.write(json.dumps(line, ensure_ascii=False) + ("" if listed else "\n"))
            count += 1
            real += sample.id.rsplit(":", 2)[1] != "synthetic"
        if listed and count:
            handle.write("\n]\n")
    return count, real
