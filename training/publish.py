"""Publish a fine-tune on the Hub: adapter or model, processor, model card and run record, in one commit."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from synvita_data.display import plain
from synvita_data.errors import HubError
from synvita_data.hub.leaks import refuse_leaks
from synvita_data.hub.places import without_places
from synvita_data.hub.repo import HubRepo, LocalFile, RepoState
from synvita_data.models.loading import TRAINING_ARGUMENTS

from .card import render_model_card
from .output import FILE, as_json, public_record, read_run_record, without_folders

ADAPTER = "adapter_model.safetensors"
# State to resume from and what only this machine needs stay here.
_KEPT_HERE = ("checkpoint-", "runs", "merged", ".")
# Of adapter_config.json, config.json, tokenizer_config.json.
_BASES = ("base_model_name_or_path", "_name_or_path", "name_or_path")
_LARGEST_SETTINGS = 5_000_000
_MADE_ANEW = ("README.md", FILE, TRAINING_ARGUMENTS)
_NOT_FOR_OTHERS = ("recipe.json", "quarantine.jsonl", "training_args.bin", "trainer_state.json")


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
        SchemaError: not the output of a finished run. LeakError: a token, or a home folder unless
            `allow_home_folders`. HubError: no token, no network, or the repository is
            public and a private one was asked for.
    """
    record = read_run_record(folder)
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(_KEPT_HERE)
        and path.name not in (*_MADE_ANEW, *_NOT_FOR_OTHERS)
        and path.suffix not in (".pt", ".bin", ".pth")
    )
    adapter = any(path.name == ADAPTER for path in files)
    if not any(path.suffix == ".safetensors" for path in files):
        raise HubError("no weights to publish", file=folder, expected=f"{ADAPTER} or model.safetensors")
    public = public_record(record)
    upload = [
        LocalFile("README.md", render_model_card(public, repo_id, adapter=adapter).encode()),
        LocalFile(FILE, as_json(public).encode()),
        LocalFile(TRAINING_ARGUMENTS, as_json(_public_arguments(folder)).encode()),
        *(_public_file(path) for path in files),
    ]
    refuse_leaks(upload, allow_home=allow_home_folders)
    hub = HubRepo(repo_id, repo_type="model", token=token)
    hub.check_token()
    state = hub.state()
    if state is None:
        hub.create(private=private)
        state = hub.state()
        assert state is not None
    else:
        check_visibility(state, repo_id, private=private)
    there = hub.snapshot("main").files
    changed = [file for file in upload if not file.equals(there.get(file.path))]
    if not changed:
        return state.head
    done = hub.commit(
        changed,
        [],
        message=f"Fine-tune {plain(record['recipe']['name'])} with synvita-data",
        parent=state.head,
        allow_home=allow_home_folders,
    )
    return done.commit


def check_visibility(state: RepoState, repo_id: str, *, private: bool) -> None:
    """Complain when a private repository was asked for and `repo_id` is a public one.

    Raises:
        HubError: it is.
    """
    if private and not state.private:
        raise HubError(
            "the repository is public",
            file=repo_id,
            expected="a private one",
            fix="Make it private on the Hub, or leave push_private out",
        )


def _public_file(path: Path) -> LocalFile:
    """A file of the folder; settings that name the folder a base model lay in name that model alone."""
    if path.suffix != ".json" or path.stat().st_size > _LARGEST_SETTINGS:
        return LocalFile(path.name, path)
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return LocalFile(path.name, path)
    if not isinstance(settings, dict):
        return LocalFile(path.name, path)
    named = {key: settings[key] for key in _BASES if isinstance(settings.get(key), str)}
    public = {key: without_folders(name) for key, name in named.items()}
    if public == named:
        return LocalFile(path.name, path)
    return LocalFile(
        path.name, (json.dumps({**settings, **public}, indent=2, ensure_ascii=False) + "\n").encode()
    )


def _public_arguments(folder: Path) -> dict[str, Any]:
    """Our own arguments, which scoring depends on (the prompt, the frames); not those of `TrainingArguments`, which
    hold places."""
    path = folder / TRAINING_ARGUMENTS
    if not path.is_file():
        return {}
    from transformers import TrainingArguments

    noted = json.loads(path.read_text(encoding="utf-8"))
    inherited = {f.name for f in fields(TrainingArguments)}
    return {
        key: without_places(value)
        for key, value in noted.items()
        if key not in inherited and key != "feature_cache"
    }
