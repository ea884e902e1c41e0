"""`synvita push`: publish a built dataset as a version on the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..builders.publish.push import Push

_FILES_SHOWN = 40


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder made by `synvita build`.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Dataset repository, OWNER/NAME.")],
    tag: Annotated[str, typer.Option(help="The version, vX.Y.Z. A version that exists is never moved.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private; refuse a public one.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the plan; change nothing.")
    ] = False,
    delete_missing: Annotated[
        bool,
        typer.Option(
            "--delete-missing", help="Remove configs that the Hub has and DIR has not. Default: keep."
        ),
    ] = False,
    default_config: Annotated[
        str | None,
        typer.Option(help="Config that `load_dataset(REPO)` takes. Default: the one that has been so far."),
    ] = None,
    allow_home_folders: Annotated[
        bool,
        typer.Option(
            "--allow-home-folders",
            help="Publish what looks like somebody's home folder (a token is never published).",
        ),
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="HF_TOKEN",
            show_envvar=True,
            help="Access token with write rights. Default: the one of `hf auth login`.",
        ),
    ] = None,
) -> None:
    """Publish a built dataset as version TAG of REPO. The same command continues a broken upload."""
    from ..builders.publish.push import push as publish
    from ..display import say

    result = publish(
        folder,
        repo,
        tag,
        private=private,
        dry_run=dry_run,
        delete_missing=delete_missing,
        default=default_config,
        token=token or None,
        allow_home_folders=allow_home_folders,
    )
    for line in report(result, dry_run=dry_run):
        say(line)


def report(result: "Push", *, dry_run: bool) -> list[str]:
    """What to print: the files, what happens to configs, notes, and how to load the version."""
    release = result.release
    lines = []
    if not result.published:
        files = {"send": release.upload, "same": release.unchanged}
        shown = {
            what: [f"{file.path}  {_size(file.size)}" for file in found] for what, found in files.items()
        }
        shown["delete"] = list(release.delete)
        send, same, delete = map(len, shown.values())
        sent, deleted = ("files to send", "to delete") if dry_run else ("files sent", "deleted")
        size = _size(sum(file.size for file in release.upload))
        lines.append(f"{send} {sent} ({size}), {same} unchanged, {delete} {deleted}")
        for what, paths in shown.items():
            few = paths if len(paths) <= _FILES_SHOWN else paths[: _FILES_SHOWN - 1]
            lines += [f"  {what:<6}  {path}" for path in few]
            lines += [f"  … and {len(paths) - len(few)} more"] if len(few) < len(paths) else []
    lines += [f"Config {name!r} is not in the folder: it stays as it is on the Hub." for name in release.kept]
    removed = "would be" if dry_run else "was"
    lines += [f"Config {name!r} is not in the folder: {removed} removed." for name in release.removed]
    lines += [f"Note: {note}" for note in result.notes]
    visibility = "private" if result.private else "public"
    if result.published:
        lines.append(f"{result.repo_id} {result.tag} is published already, with this content. Nothing to do.")
    elif dry_run:
        made = f"; the repository would be created ({visibility})" if result.created else ""
        lines.append(f"Dry run of {result.repo_id} {result.tag}: nothing was changed{made}.")
    else:
        made = f" in a new {visibility} repository" if result.created else ""
        lines.append(f"Published {result.repo_id} {result.tag}{made}, commit {(result.commit or '')[:10]}.")
    first, *others = result.how_to_load()
    return [*lines, "Load it with:", f"  {first}  # default config", *(f"  {line}" for line in others)]


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
