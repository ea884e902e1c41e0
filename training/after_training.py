"""What a recipe asks for when training is over: a merged model, a publication. Checked before, and repeatable after."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synvita_data.display import say as print_line
from synvita_data.errors import SynvitaError

from .checkpoints import ADAPTER_WEIGHTS, merge_adapter
from .output import MERGED, different_keys, is_finished
from .publish import push_model
from .recipe import Recipe
from .run_record import FILE, as_json, public_record, read_run_record


def is_main_process() -> bool:
    """Of all that a launcher started, before torch.distributed knows."""
    return os.environ.get("RANK", "0") == "0"


def check_afterwards(recipe: Recipe) -> None:
    """What would fail after hours of training fails before it: a name, a token, the way to the Hub.

    Raises:
        SynvitaError: nothing to merge. HubError: push_to is no name, no token that may write, no network, or a
            public repository where a private one was asked for.
    """
    options = recipe.run
    tune = recipe.training.get("tune", "lora")
    if options.merge and tune != "lora":
        raise SynvitaError(
            "without an adapter there is nothing to merge",
            found=f"merge=true with tune={tune}",
            fix="Leave merge out: the output folder holds the whole model",
        )
    if options.push_to and is_main_process():
        from synvita_data.hub.leaks import refuse_leaks
        from synvita_data.hub.repo import HubRepo, LocalFile

        hub = HubRepo(options.push_to, repo_type="model")
        hub.check_token()
        state = hub.state()
        # What the record will hold of the recipe, before hours of training.
        public = public_record({"recipe": recipe.to_dict(), "model": {"name": options.model}})
        refuse_leaks([LocalFile(FILE, as_json(public).encode())], allow_home=options.push_home_folders)
        hub.check_visibility(state, private=options.push_private, option="push_private")


def is_left_to_do(recipe: Recipe) -> bool:
    """Whether the output folder holds this recipe trained to its end, and merging or publishing is asked for.

    A finished run can be published again: what is there already is not sent twice.
    """
    folder = Path(str(recipe.training["output_dir"]))
    if not is_finished(folder) or different_keys(folder, recipe):
        return False
    # Other processes leave it to the first, which may have merged before they look.
    return not is_main_process() or _to_merge(folder, recipe) or bool(recipe.run.push_to)


def finish(recipe: Recipe, say: Callable[[str], None] = print_line) -> dict[str, Any]:
    """Merge and publish a finished run, as the recipe asks; on one process.

    Returns:
        The run record.

    Raises:
        SynvitaError: whatever went wrong. The run stays finished: the same command does the rest.
    """
    folder = Path(str(recipe.training["output_dir"]))
    record = read_run_record(folder)
    if _to_merge(folder, recipe):
        say(f"Merged model in {merge_adapter(folder, folder / MERGED)}")
    if repo := recipe.run.push_to:
        commit = push_model(
            folder, repo, private=recipe.run.push_private, allow_home_folders=recipe.run.push_home_folders
        )
        say(f"Published {repo}, commit {commit[:10]}")
    return record


def _to_merge(folder: Path, recipe: Recipe) -> bool:
    return recipe.run.merge and (folder / ADAPTER_WEIGHTS).is_file() and not (folder / MERGED).exists()
