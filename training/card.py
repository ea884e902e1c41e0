"""The model card of a fine-tune, made from its run record alone: nothing in it is typed by hand."""

import re
from collections.abc import Mapping
from typing import Any

from synvita_data.hub.card import code, code_line, front_matter, markdown, table

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
        "push_home_folders",
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
# The Hub refuses a card that links to anything else.
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_OF_SYNTHETIC = ("weighting", "scr_weight", "margin")


def render_model_card(record: Mapping[str, Any], repo: str | None = None, *, adapter: bool = True) -> str:
    """README.md of an output folder.

    Args:
        record: of `run_record.make_run_record`. repo: `OWNER/NAME` it is published as; None for the folder.
        adapter: the folder holds a PEFT adapter and not a whole model.
    """
    recipe, base, data = record["recipe"], record["model"], record["data"]
    on_hub = _REPO_ID.fullmatch(str(base["name"])) is not None
    metadata: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        **({"base_model": base["name"]} if on_hub else {}),
        **({"datasets": [data["path"]]} if "commit" in data else {}),
        "pipeline_tag": "video-text-to-text",
        "tags": ["video-language-alignment", "synvita", *(["lora"] if adapter else [])],
    }
    name = repo or "OUTPUT_DIR"
    sections = [
        f"# {markdown((repo or recipe['name']).rpartition('/')[2])}",
        _introduction(recipe, base),
        _use(name, base),
        _data(data),
        _settings(recipe, record["processes"]),
        _results(record),
        _versions(record),
        "## Citation\n\n" + _CITATION,
    ]
    return f"{front_matter(metadata)}\n" + "\n\n".join(sections) + "\n"


def _introduction(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    videos = (
        "real videos" if recipe.get("use_synthetic") is False else "triplets of real and synthetic videos"
    )
    # What a recipe says of itself holds only as long as nobody changes it.
    about = recipe.get("about") if not set(recipe.get("changed", ())) - _HARMLESS else None
    return (
        (f"{markdown(about)}. " if about else "")
        + f"Fine-tuned from {code(base['name'])} with `synvita train` on {videos}: it says how well a text describes a "
        "video, f(V, t) = P(Yes) / (P(Yes) + P(No))."
    )


def _use(name: str, base: Mapping[str, Any]) -> str:
    return (
        "## Use\n\n```bash\n"
        f"synvita evaluate {code_line(name)} --task ssv2-temporal --annotations FILE --real-root DIR\n```\n\n"
        f"Family {code(base['family'])}, prompt {code(base['prompt'])}, frames {code(base['frames'])}. Scores depend on all three."
    )


def _data(data: Mapping[str, Any]) -> str:
    version = {k: v for k, v in data.items() if k != "counts" and v is not None}
    shown = {k: ", ".join(v) if isinstance(v, list) else v for k, v in version.items()}
    lines = ["## Data", "", *(f"- {markdown(key)}: {code(value)}" for key, value in shown.items()), ""]
    counts = [[markdown(key.replace("_", " ")), f"{value:,}"] for key, value in data["counts"].items()]
    lines.append(table(["rows", ""], counts))
    return "\n".join(lines)


def _settings(recipe: Mapping[str, Any], processes: int) -> str:
    unused = _OF_SYNTHETIC if recipe.get("use_synthetic") is False else ()
    rows = [
        [code(key), markdown(recipe[key])]
        for key in _SHOWN
        if recipe.get(key) is not None and key not in unused
    ]
    changed = sorted(set(recipe.get("changed", ())) - _HARMLESS)
    return "\n".join(
        [
            "## Training",
            "",
            f"Recipe {code(recipe['name'])}"
            + (f" with other values of {', '.join(map(code, changed))}" if changed else "")
            + f", {processes} process{'es' if processes > 1 else ''}. The whole recipe is in `training_run.json`, what it "
            "leaves at its default in `training_args.json`.",
            "",
            table(["setting", "value"], rows),
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
    rows = [
        [markdown(entry.get("step", "")), *(_cell(entry.get(name)) for name in names)]
        for entry in evaluations
    ]
    lines.append(table(["step", *(markdown(name.removeprefix("eval_")) for name in names)], rows))
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else ""


def _versions(record: Mapping[str, Any]) -> str:
    return "## Versions\n\n" + ", ".join(
        f"{markdown(name)} {markdown(version)}" for name, version in record["versions"].items()
    )
