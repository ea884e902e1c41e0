"""The model card of a fine-tune, made from its run record alone: nothing in it is typed by hand."""

from collections.abc import Mapping
from typing import Any

import yaml

_CITATION = """```bibtex
@inproceedings{zanella2025synvita,
  title     = {Can Text-to-Video Generation help Video-Language Alignment?},
  author    = {Zanella, Luca and Mancini, Massimiliano and Menapace, Willi and Tulyakov, Sergey and Wang, Yiming and Ricci, Elisa},
  booktitle = {CVPR},
  year      = {2025}
}
```"""
# What a reader of the card looks for first; the whole recipe stands in training_run.json.
_SHOWN = (
    "weighting",
    "scr_weight",
    "margin",
    "normalisation",
    "answer_loss",
    "use_synthetic",
    "nle_share",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "batch",
    "seed",
)


# Changes on the command line that leave what a recipe says of itself true.
_HARMLESS = frozenset(
    {
        "real_root",
        "real_mapping",
        "output_dir",
        "push_to",
        "push_private",
        "merge",
        "feature_cache",
        "report_to",
    }
    | {"per_device_train_batch_size", "per_device_eval_batch_size", "dataloader_num_workers", "disable_tqdm"}
    | {
        "eval_split",
        "eval_steps",
        "eval_strategy",
        "eval_on_start",
        "save_steps",
        "logging_steps",
        "run_name",
    }
)
_OF_SYNTHETIC = ("weighting", "scr_weight", "margin")


def render_model_card(record: Mapping[str, Any], repo: str | None = None, *, adapter: bool = True) -> str:
    """README.md of an output folder.

    Args:
        record: of `run_record.make_run_record`. repo: `OWNER/NAME` it is published as; None for the folder.
        adapter: the folder holds a PEFT adapter and not a whole model.
    """
    recipe, base, data = record["recipe"], record["model"], record["data"]
    on_hub = "/" in str(base["name"]) and not str(base["name"]).startswith(("/", ".", "~"))
    metadata: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        **({"base_model": base["name"]} if on_hub else {}),
        **({"datasets": [data["path"]]} if "commit" in data else {}),
        "pipeline_tag": "video-text-to-text",
        "tags": ["video-language-alignment", "synvita", *(["lora"] if adapter else [])],
    }
    name = repo or "OUTPUT_DIR"
    sections = [
        f"# {(repo or recipe['name']).rpartition('/')[2]}",
        _introduction(recipe, base),
        _use(name, base),
        _data(data),
        _settings(recipe, record["processes"]),
        _results(record),
        _versions(record),
        "## Citation\n\n" + _CITATION,
    ]
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n\n".join(sections) + "\n"


def _introduction(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    videos = (
        "real videos" if recipe.get("use_synthetic") is False else "triplets of real and synthetic videos"
    )
    # What a recipe says of itself holds only as long as nobody changes it.
    about = recipe.get("about") if not set(recipe.get("changed", ())) - _HARMLESS else None
    return (
        (f"{about}. " if about else "")
        + f"Fine-tuned from `{base['name']}` with `synvita train` on {videos}: it says how well a text describes a "
        "video, f(V, t) = P(Yes) / (P(Yes) + P(No))."
    )


def _use(name: str, base: Mapping[str, Any]) -> str:
    return (
        "## Use\n\n```bash\n"
        f"synvita evaluate {name} --task ssv2-temporal --annotations FILE --real-root DIR\n```\n\n"
        f"Family `{base['family']}`, prompt `{base['prompt']}`, frames `{base['frames']}`. Scores depend on all three."
    )


def _data(data: Mapping[str, Any]) -> str:
    version = {k: v for k, v in data.items() if k != "counts" and v is not None}
    shown = {k: ", ".join(v) if isinstance(v, list) else v for k, v in version.items()}
    lines = ["## Data", "", *(f"- {key}: `{value}`" for key, value in shown.items()), ""]
    lines += ["| rows | |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {value:,} |" for key, value in data["counts"].items()]
    return "\n".join(lines)


def _settings(recipe: Mapping[str, Any], processes: int) -> str:
    unused = _OF_SYNTHETIC if recipe.get("use_synthetic") is False else ()
    rows = [
        f"| `{key}` | {recipe[key]} |" for key in _SHOWN if recipe.get(key) is not None and key not in unused
    ]
    changed = sorted(set(recipe.get("changed", ())) - _HARMLESS)
    return "\n".join(
        [
            "## Training",
            "",
            f"Recipe `{recipe['name']}`"
            + (f" with other values of {', '.join(f'`{key}`' for key in changed)}" if changed else "")
            + f", {processes} process{'es' if processes > 1 else ''}. The whole recipe is in `training_run.json`, what it "
            "leaves at its default in `training_args.json`.",
            "",
            "| setting | value |",
            "|---|---|",
            *rows,
        ]
    )


def _results(record: Mapping[str, Any]) -> str:
    evaluations = record["evaluations"]
    if not evaluations:
        return "## Results\n\nNo held-out rows were evaluated during training."
    found = {key for entry in evaluations for key in entry if key.startswith("eval_")}
    names = sorted(key for key in found if "auc" in key) + sorted(
        key for key in found if key.endswith("texts")
    )
    lines = [
        "## Results",
        "",
        "On the held-out split during training, as they came; `texts` is how many were scored.",
        "",
    ]
    lines += [f"| step | {' | '.join(name.removeprefix('eval_') for name in names)} |"]
    lines += ["|---|" + "---|" * len(names)]
    for entry in evaluations:
        cells = [_cell(entry.get(name)) for name in names]
        lines.append(f"| {entry.get('step', '')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else ""


def _versions(record: Mapping[str, Any]) -> str:
    return "## Versions\n\n" + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
