"""`synvita doctor`: what another command would need, before it runs."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from ..display import counted

if TYPE_CHECKING:
    from ..doctor import Needs

_COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}
_SECRET = "--token"

# Everything behind the first word belongs to the other command, its options too.
CONTEXT_SETTINGS = {"allow_interspersed_args": False}


def doctor(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND…", help="A command of synvita with its arguments and options."),
    ],
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write the report as JSON too; - prints only that."),
    ] = None,
) -> None:
    """Say what a command needs and what of it is there: files, memory, packages, videos. Loads and writes nothing.

    Exits with 0 if the command can run, with 1 if something is missing. Without a network it says what it
    could not ask.
    """
    from ..display import json_text, print_error, write
    from ..doctor import HubQuestions, Needs
    from ..errors import SynvitaError
    from ..files import write_atomic

    name, other, rest = _found(context, command)
    if other is not None and json_file is None:
        json_file, rest = _own_json(rest)
    given, usage = _parsed(context, name, other, rest)
    needs = Needs(name, HubQuestions(token=getattr(given, "token", None)))
    try:
        if given is not None:
            _COMMANDS[name](given, needs)
    except SynvitaError as error:  # what the command says before it begins
        usage = str(error)
    if usage:
        fix = "See synvita --help, and --help of the command"
        needs.bad("command", usage.rstrip("."), fix)
    if getattr(given, "engine", None) == "ray":
        needs.packages("ray")
    line = " ".join(["synvita", name, *_without_secrets(rest)])
    record = {"command_line": line, **needs.to_record(), "machine": needs.machine.to_record()}
    text = json_text(record, indent=1, default=str) + "\n"
    if json_file == "-":
        write(text)
    else:
        _print(line, needs)
        if json_file is not None:
            write_atomic(Path(json_file), text)
            print_error(f"written: {json_file}", "")
    raise typer.Exit(0 if needs.runs else 1)


# -- the other command's line ------------------------------------------------------------------------------


def _found(context: typer.Context, words: Sequence[str]) -> tuple[str, Any | None, list[str]]:
    """The command that words begin with, also one of a group (`videos check`): its name, itself, and the rest."""
    for count in (2, 1):
        if (name := " ".join(words[:count])) in _COMMANDS:
            root = context.find_root()
            other: Any = root.command
            for word in words[:count]:
                other = other.get_command(root, word)
            return name, other, list(words[count:])
    return words[0], None, list(words[1:])


def _own_json(rest: list[str]) -> tuple[str | None, list[str]]:
    """`--json FILE` may stand at the end too; the other command writes nothing, so that it is not its own."""
    if len(rest) > 1 and rest[-2] == "--json":
        return rest[-1], rest[:-2]
    if rest and rest[-1].startswith("--json="):
        return rest[-1].removeprefix("--json="), rest[:-1]
    return None, rest


def _parsed(
    context: typer.Context, name: str, other: Any | None, rest: Sequence[str]
) -> tuple[SimpleNamespace | None, str]:
    """What the command's own parser makes of its arguments, by the names of its parameters; else why it refuses them."""
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    if other is None:
        return None, f"there is no command {name} to look at; there are {', '.join(_COMMANDS)}"
    try:
        values = other.make_context(name, list(rest), parent=context.find_root()).params
    except usage_error as error:
        return None, str(error.format_message())
    kinds = get_type_hints(other.callback)
    for key, value in values.items():
        if value is not None:
            is_path = Path in (kinds.get(key), *get_args(kinds.get(key)))
            values[key] = Path(value) if is_path else getattr(value, "value", value)
    return SimpleNamespace(**values), ""


def _without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments as they may be shown."""
    shown: list[str] = []
    for argument in arguments:
        if shown and shown[-1] == _SECRET:
            shown.append("…")
        else:
            shown.append(f"{_SECRET}=…" if argument.startswith(f"{_SECRET}=") else argument)
    return shown


# -- what each command needs -------------------------------------------------------------------------------


def _evaluate(given: Any, needs: "Needs") -> None:
    from ..doctor.evaluation import ASKED, evaluation_needs

    evaluation_needs(
        given.model,
        given.task or (),
        annotations=given.annotations,
        form=given.form,
        skip_bad=given.skip_bad_rows,
        real_root=given.real_root,
        real_mapping=given.real_mapping,
        out=given.out,
        predictions=given.predictions,
        partial=given.partial or given.limit is not None,
        videos=given.video or (),
        items=given.item or (),
        needs=needs,
        **{name: getattr(given, name) for name in ASKED},
    )


def _score(given: Any, needs: "Needs") -> None:
    from synvita_data.builders.needs import add_vqa_models

    from ..doctor.evaluation import ASKED, AskedModel, add_model
    from ..doctor.inputs import add_output, add_pairs
    from ..errors import SynvitaError
    from ..pair_scores.output import check_out
    from .score import is_vqascore, read_table

    try:
        given_table = (given.text, given.texts, given.root, given.video_column, given.text_column)
        add_pairs(needs, read_table(given.source, *given_table))
    except SynvitaError as error:
        needs.failed("pairs", error)
    try:
        by_vqascore = is_vqascore(given.model, given.revision, given.vqascore, given.whole_video)
    except SynvitaError:  # said of the model below
        by_vqascore = False
    if by_vqascore:
        devices = None if given.device is None else [given.device]
        asked = {"devices": devices, "whole_video": given.whole_video, "dtype": given.dtype}
        asked["preprocess"] = given.preprocess or "reference"
        add_vqa_models(needs, SimpleNamespace(**asked), [given.model])
        needs.decoder(given.backend or "pyav")
    elif given.model != "chance":
        add_model(needs, AskedModel(given.model, **{name: getattr(given, name, None) for name in ASKED}))
    try:
        check_out(given.out)
        add_output(needs, given.out.parent, f"scores go into {given.out}")
    except SynvitaError as error:
        needs.failed("out", error)
    needs.disk()


def _train(given: Any, needs: "Needs") -> None:
    from synvita_data.training.needs import training_needs

    if given.recipe is not None:
        training_needs(given.recipe, given.changes or (), needs)
    elif given.list_recipes or given.list_keys:
        needs.ok("command", "it only prints a list")
    else:
        needs.bad("recipe", "no recipe is named", "synvita train --list shows those of the package")


def _reproduce(given: Any, needs: "Needs") -> None:
    """What `--dry-run` lists, as checks: what is missing is bad where no cell can be run."""
    from ..doctor.inputs import add_output
    from ..reproduce.inputs import look
    from .reproduce import cells_of

    if given.table != "table3":
        needs.ok("command", "it only prints a plan of training, or writes it as a script")
        return
    read, asked = cells_of(vars(given))
    found = look(read, asked)
    for missing in found.missing:
        needs.bad("packages", missing)
    for each in found.checkpoints.values():
        state = "converted already" if each.converted else "to be fetched, as far as it is not here"
        add = needs.warn if each.missing else needs.ok
        add("checkpoint", f"{each.name}, {each.repository}: {each.missing or state}")
    for task in found.tasks.values():
        counts = f"{counted(task.texts, 'texts')}, {task.found:,} of {task.needed:,} videos"
        add = needs.warn if task.missing else needs.ok
        add("inputs", f"{task.task}: {'; '.join(task.missing) or counts}")
    can = sum(not each.missing for each in found.cells)
    add = needs.ok if can else needs.bad
    add("cells", f"{can} of {len(found.cells)} can be run; --dry-run lists what each of them lacks")
    for warning in found.warnings:
        needs.warn("machine", warning)
    needs.other_bytes = found.to_fetch
    add_output(needs, asked.out, f"checkpoints, results and tables go into {asked.out}")


def _videos_check(given: Any, needs: "Needs") -> None:
    from synvita_data.builders.needs import read_triplets

    from ..doctor.data import find_data
    from ..doctor.inputs import add_annotations, add_file, add_folder, add_output

    named = [name for name in ("annotations", "triplets", "dataset") if getattr(given, name) is not None]
    if len(named) != 1:
        found = " and ".join(f"--{name}" for name in named) or "none of them"
        needs.bad("command", f"give one of --annotations, --triplets and --dataset, not {found}")
    add_folder(needs, given.real_root, "videos", "real videos")
    if given.real_mapping is not None:
        add_file(needs, given.real_mapping, "videos", "which file is which video")
    if given.annotations is not None:
        from ..annotations import tasks_at

        tasks = given.task or [task.name for task in tasks_at(given.annotations)]
        if not tasks:
            needs.bad(
                "annotations", f"{given.annotations} has no file of a benchmark's name", "Name a --task"
            )
        add_annotations(needs, tasks, given.annotations)
    if given.triplets is not None:
        read_triplets(needs, given)
    if given.dataset is not None:
        find_data(needs, given.dataset, config=given.config, splits=given.split or ())
    for file in (given.missing, given.json):
        if file is not None:
            add_output(needs, file.parent, f"{file} is written")


def _room(module: str, function: str) -> Callable[[Any, "Needs"], None]:
    """A function that knows what a command needs, imported when it is asked for."""

    def look(given: Any, needs: "Needs") -> None:
        getattr(import_module(f"synvita_data.{module}"), function)(given, needs)

    return look


_COMMANDS: dict[str, Callable[[Any, "Needs"], None]] = {
    "annotations": _room("doctor.others", "annotation_needs"),
    "build": _room("builders.needs", "build_needs"),
    "compare": _room("doctor.others", "comparison_needs"),
    "contrast": _room("builders.contrast_needs", "contrast_needs"),
    "convert": _room("doctor.others", "conversion_needs"),
    "demo": _room("doctor.others", "demo_needs"),
    "errors": _room("doctor.others", "mistake_needs"),
    "evaluate": _evaluate,
    "export": _room("doctor.others", "export_needs"),
    "generate": _room("builders.needs", "generation_needs"),
    "inspect": _room("doctor.others", "inspection_needs"),
    "leaderboard": _room("doctor.others", "leaderboard_needs"),
    "push": _room("builders.needs", "push_needs"),
    "reproduce": _reproduce,
    "score": _score,
    "study": _room("doctor.others", "study_needs"),
    "submit": _room("doctor.others", "submission_needs"),
    "train": _train,
    "verify": _room("doctor.others", "verification_needs"),
    "videos check": _videos_check,
    "vqascore": _room("builders.needs", "vqascore_needs"),
}


# -- the report --------------------------------------------------------------------------------------------


def _print(line: str, needs: "Needs") -> None:
    from ..display import Terminal

    terminal = Terminal()
    terminal.line(("bold", line))
    width = max((len(check.subject) for check in needs.checks), default=0)
    for check in needs.checks:
        terminal.line(
            "  ", (_COLOURS[check.state], f"{check.state:<6}"), f"{check.subject:<{width}}  {check.text}"
        )
        if check.fix is not None and check.state != "ok":
            terminal.line(" " * (width + 10), ("dim", f"→ {check.fix}"))
    terminal.line(("bold", verdict(needs)))


def verdict(needs: "Needs") -> str:
    """The last line: one sentence."""
    from ..doctor.report import size

    count = len(needs.missing)
    if count:
        things = "one thing is" if count == 1 else f"{count} things are"
        return f"It cannot run as it is: {things} missing or wrong."
    fetched = needs.bytes_to_fetch
    first = f"It can run, after {size(fetched)} are fetched" if fetched else "It can run"
    warned = sum(check.state == "warn" for check in needs.checks)
    return f"{first}." if not warned else f"{first}; see {warned} warning{'' if warned == 1 else 's'} above."
