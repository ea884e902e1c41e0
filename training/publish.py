"""The model card of a fine-tune, and its publication on the Hub: adapter or model, processor, card and run record.

The card is made from the run record alone: nothing in it is typed by hand.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from synvita_data.display import plain
from synvita_data.errors import HubError
from synvita_data.files import parse_json, read_json
from synvita_data.hub.card import SYNVITA, citation, code, code_line, make_card, markdown, table
from synvita_data.hub.leaks import refuse_leaks
from synvita_data.hub.places import without_places
from synvita_data.hub.repo import REPO_ID, HubRepo, LocalFile
from synvita_data.models.resolve import TRAINING_ARGUMENTS

from .output import FILE, as_json, public_record, read_run_record, without_folders

ADAPTER = "adapter_model.safetensors"
# State to resume from and what only this machine needs stay here.
_KEPT_HERE = ("checkpoint-", "runs", "merged", ".")
_NOT_FOR_OTHERS = ("recipe.json", "quarantine.jsonl", "training_args.bin", "trainer_state.json")
_WRITTEN_HERE = ("README.md", FILE, TRAINING_ARGUMENTS)
# Of adapter_config.json, config.json, tokenizer_config.json.
_BASES = ("base_model_name_or_path", "_name_or_path", "name_or_path")
_LARGEST_SETTINGS = 5_000_000
# What a reader of the card looks for first; the whole recipe stands in training_run.json.
_SHOWN = [
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
]
_OF_SYNTHETIC = ("weighting", "scr_weight", "margin")
# Changes on the command line that leave what a recipe says of itself true.
_HARMLESS = frozenset(
    [
        "real_root",
        "real_mapping",
        "synthetic_root",
        "benchmarks",
        "output_dir",
        "push_to",
        "push_private",
        "push_home_folders",
        "merge",
        "feature_cache",
        "report_to",
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "dataloader_num_workers",
        "disable_tqdm",
        "eval_split",
        "eval_steps",
        "eval_strategy",
        "eval_on_start",
        "save_steps",
        "logging_steps",
        "run_name",
    ]
)


def push_model(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    allow_home_folders: bool = False,
) -> str:
    """Publish the output folder of a finished `synvita train`; returns the commit.

    Places on this machine (folders, roots, lists of bad files) are left out. The repository is made if it does
    not exist. Files that are there already are not sent again; nothing is deleted.

    Raises:
        SchemaError: not the output of a finished run.
        LeakError: a token, or a home folder unless `allow_home_folders`.
        HubError: no token, no network, or the repository is public and a private one was asked for.
    """
    record = read_run_record(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_published(path))
    if not any(path.suffix == ".safetensors" for path in files):
        raise HubError("no weights to publish", file=folder, expected=f"{ADAPTER} or model.safetensors")
    public = public_record(record)
    card = render_model_card(public, repo_id, adapter=any(path.name == ADAPTER for path in files))
    upload = [
        LocalFile("README.md", card.encode()),
        LocalFile(FILE, as_json(public).encode()),
        LocalFile(TRAINING_ARGUMENTS, as_json(_public_arguments(folder)).encode()),
        *(LocalFile(path.name, _public_settings(path) or path) for path in files),
    ]
    refuse_leaks(upload, allow_home=allow_home_folders)
    hub = HubRepo(repo_id, repo_type="model", token=token)
    hub.check_token()
    state = hub.state()
    hub.check_visibility(state, private=private, option="push_private")
    if state is None:
        hub.create(private=private)
    there = hub.snapshot("main")
    changed = [file for file in upload if not file.equals(there.files.get(file.path))]
    if not changed:
        return there.commit
    message = f"Fine-tune {plain(record['recipe']['name'])} with synvita-data"
    return hub.commit(changed, [], message=message, parent=there.commit, allow_home=allow_home_folders).commit


def _is_published(path: Path) -> bool:
    ours = path.name in (*_WRITTEN_HERE, *_NOT_FOR_OTHERS) or path.name.startswith(_KEPT_HERE)
    return not ours and path.suffix not in (".pt", ".bin", ".pth")


def _public_settings(path: Path) -> bytes | None:
    """Settings that name the folder a base model lay in, with that model's name alone; None for any other file."""
    if path.suffix != ".json" or path.stat().st_size > _LARGEST_SETTINGS:
        return None
    try:
        settings = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(settings, dict):
        return None
    named = {key: settings[key] for key in _BASES if isinstance(settings.get(key), str)}
    public = {key: without_folders(name) for key, name in named.items()}
    if public == named:
        return None
    return (json.dumps({**settings, **public}, indent=2, ensure_ascii=False) + "\n").encode()


def _public_arguments(folder: Path) -> dict[str, Any]:
    """Our own arguments, which scoring depends on (the prompt, the frames).

    Those of `TrainingArguments` hold places and stay here.
    """
    path = folder / TRAINING_ARGUMENTS
    if not path.is_file():
        return {}
    from transformers import TrainingArguments

    noted = read_json(path, "the arguments of a training run")
    here = {field.name for field in fields(TrainingArguments)} | {"feature_cache"}
    return {key: without_places(value) for key, value in noted.items() if key not in here}


# --- the card --------------------------------------------------------------------------------------


def render_model_card(record: Mapping[str, Any], repo: str | None = None, *, adapter: bool = True) -> str:
    """README.md of an output folder.

    Args:
        record: of `output.make_run_record`.
        repo: `OWNER/NAME` it is published as; None for the folder.
        adapter: the folder holds a PEFT adapter and not a whole model.
    """
    recipe, base, data = record["recipe"], record["model"], record["data"]
    # The Hub refuses a card that links to anything but a repository.
    on_hub = REPO_ID.fullmatch(str(base["name"])) is not None
    metadata: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "base_model": base["name"] if on_hub else None,
        "datasets": [data["path"]] if "commit" in data else None,
        "pipeline_tag": "video-text-to-text",
        "tags": ["video-language-alignment", "synvita", *(["lora"] if adapter else [])],
    }
    title = (repo or recipe["name"]).rpartition("/")[2]
    versions = (f"{markdown(name)} {markdown(version)}" for name, version in record["versions"].items())
    return make_card(
        metadata,
        [
            f"# {markdown(title)}",
            _introduction(recipe, base),
            "## Use\n\n```bash\n"
            f"synvita evaluate {code_line(repo or 'OUTPUT_DIR')} --task ssv2-temporal --annotations FILE --real-root DIR\n"
            f"```\n\nFamily {code(base['family'])}, prompt {code(base['prompt'])}, frames {code(base['frames'])}. "
            "Scores depend on all three.",
            _data(data),
            *_settings(recipe, record["processes"]),
            _results(record["evaluations"]),
            f"## Versions\n\n{', '.join(versions)}",
            citation(SYNVITA),
        ],
    )


def _introduction(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    real_only = recipe.get("use_synthetic") is False
    videos = "real videos" if real_only else "triplets of real and synthetic videos"
    # What a recipe says of itself holds only as long as nobody changes it.
    about = recipe.get("about") if not set(recipe.get("changed", ())) - _HARMLESS else None
    return (
        (f"{markdown(about)}. " if about else "")
        + f"Fine-tuned from {code(base['name'])} with `synvita train` on {videos}: it says how well a text describes a "
        "video, f(V, t) = P(Yes) / (P(Yes) + P(No))."
    )


def _data(data: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in data.items() if key != "counts" and value is not None}
    lines = [
        f"- {markdown(key)}: {code(', '.join(value) if isinstance(value, list) else value)}"
        for key, value in shown.items()
    ]
    counts = [[markdown(key.replace("_", " ")), f"{value:,}"] for key, value in data["counts"].items()]
    return "\n".join(["## Data", "", *lines, "", table(["rows", ""], counts)])


def _settings(recipe: Mapping[str, Any], processes: int) -> list[str]:
    unused = _OF_SYNTHETIC if recipe.get("use_synthetic") is False else ()
    shown = [key for key in _SHOWN if recipe.get(key) is not None and key not in unused]
    changed = sorted(set(recipe.get("changed", ())) - _HARMLESS)
    return [
        "## Training",
        f"Recipe {code(recipe['name'])}"
        + (f" with other values of {', '.join(map(code, changed))}" if changed else "")
        + f", {processes} process{'es' if processes > 1 else ''}. The whole recipe is in `training_run.json`, what it "
        "leaves at its default in `training_args.json`.",
        table(["setting", "value"], ([code(key), markdown(recipe[key])] for key in shown)),
    ]


def _results(evaluations: list[Mapping[str, Any]]) -> str:
    if not evaluations:
        return "## Results\n\nNo held-out rows were evaluated during training."
    found = sorted({key for entry in evaluations for key in entry if key.startswith("eval_")})
    names = [key for key in found if "auc" in key] + [key for key in found if key.endswith("texts")]
    rows = [
        [markdown(entry.get("step", "")), *(_number(entry.get(name)) for name in names)]
        for entry in evaluations
    ]
    return (
        "## Results\n\n"
        "On the held-out split during training, as they came; `texts` is how many were scored.\n\n"
        + table(["step", *(markdown(name.removeprefix("eval_")) for name in names)], rows)
    )


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else ""
