"""`synvita doctor`: what another command would need, before it runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..doctor import HubQuestions, Needs
    from ..doctor.machine import Machine

# Options of `evaluate` that change what a model sees, named in the report where they are given.
_SEEN = ("mode", "preprocess", "flips", "readout", "placeholder_space")
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
    from ..doctor import HubQuestions
    from ..doctor.machine import look_at_machine
    from ..files import write_atomic

    name, other, rest = _found(context, command)
    if other is not None and json_file is None:
        json_file, rest = _own_json(other, rest)
    given, usage = _parsed(context, name, other, rest)
    token = None if given is None else given.text("token")
    hub, machine = HubQuestions(token=token), look_at_machine()
    needs = _wrong_usage(name, usage) if given is None else _needs(name, given, hub, machine)
    line = " ".join(["synvita", name, *_without_secrets(rest)])
    record = {"command_line": line, **needs.to_record(), "machine": machine.to_record()}
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


class Given:
    """The values of another command's parameters, as its own parser gave them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def value(self, name: str, default: Any = None) -> Any:
        """A value; of an enumeration, its text."""
        found = self._values.get(name)
        return default if found is None else getattr(found, "value", found)

    def text(self, name: str) -> str | None:
        """A text."""
        found = self.value(name)
        return None if found is None else str(found)

    def texts(self, name: str) -> list[str]:
        """What may be given several times."""
        return [str(getattr(each, "value", each)) for each in self.value(name, ())]

    def path(self, name: str) -> Path | None:
        """A path."""
        found = self.text(name)
        return None if found is None else Path(found)

    def paths(self, *names: str) -> list[Path]:
        """Those of several paths that are given and are files."""
        given = (self.text(name) for name in names)
        return [Path(text) for text in given if text is not None and text != "-"]

    def flag(self, name: str) -> bool:
        """A switch."""
        return bool(self.value(name))


def _found(context: typer.Context, words: Sequence[str]) -> tuple[str, Any | None, list[str]]:
    """The command that words begin with, also one of a group (`videos check`): its name, itself, and the rest."""
    root = context.find_root()
    program: Any = root.command
    name, *rest = words
    other = program.get_command(root, name)
    while other is not None and hasattr(other, "list_commands") and rest:
        group, other = other, other.get_command(root, rest[0])
        if other is None:
            return name, group, rest
        name, rest = f"{name} {rest[0]}", rest[1:]
    return name, None if name == context.info_name else other, rest


def _own_json(other: Any, rest: list[str]) -> tuple[str | None, list[str]]:
    """`--json FILE` may stand at the end too, where the other command has no such option of its own."""
    if any("--json" in each.opts for each in other.params):
        return None, rest
    if len(rest) > 1 and rest[-2] == "--json":
        return rest[-1], rest[:-2]
    if rest and rest[-1].startswith("--json="):
        return rest[-1].removeprefix("--json="), rest[:-1]
    return None, rest


def _parsed(
    context: typer.Context, name: str, other: Any | None, rest: Sequence[str]
) -> tuple[Given | None, str]:
    """What the command's own parser makes of its arguments, without running it; else why it refuses them."""
    usage_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    root = context.find_root()
    if other is None:
        program: Any = root.command
        names = ", ".join(each for each in program.list_commands(root) if each != context.info_name)
        return None, f"there is no command {name} to look at; there are {names}"
    try:
        return Given(other.make_context(name, list(rest), parent=root).params), ""
    except usage_error as error:
        return None, str(error.format_message())


def _wrong_usage(name: str, problem: str) -> "Needs":
    from ..doctor import Needs

    needs = Needs(name)
    needs.bad("command", problem.rstrip("."), "See synvita --help, and --help of the command")
    return needs


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


def _needs(name: str, given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    """What a command needs; of one that is not known here, what can be said of any."""
    from ..doctor.machine import extra_check
    from ..errors import SynvitaError

    make = _COMMANDS.get(name, _any)
    try:
        needs = make(given, hub, machine)
    except SynvitaError as error:  # what the command says before it begins
        needs = _wrong_usage(name, str(error))
    needs.command = name
    if given.text("engine") == "ray":
        needs.checks.append(extra_check("ray"))
    return needs


def _evaluate(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor import evaluation_needs

    return evaluation_needs(
        given.text("model"),
        given.texts("task"),
        annotations=given.path("annotations"),
        real_root=given.path("real_root"),
        real_mapping=given.path("real_mapping"),
        out=given.path("out") or "results",
        predictions=given.path("predictions"),
        revision=given.text("revision"),
        adapter=given.text("adapter"),
        adapter_revision=given.text("adapter_revision"),
        dtype=given.text("dtype") or "float32",
        frames=given.value("frames"),
        prompt=given.text("prompt"),
        backend=given.text("backend"),
        device=given.text("device"),
        device_map=given.text("device_map"),
        partial=given.flag("partial") or given.value("limit") is not None,
        settings={name: given.text(name) for name in _SEEN},
        hub=hub,
        machine=machine,
    )


def _train(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from synvita_data.training.needs import training_needs

    from ..doctor import Needs

    recipe = given.text("recipe")
    if recipe is not None:
        return training_needs(recipe, given.texts("changes"), hub=hub, machine=machine)
    needs = Needs("train")
    if given.flag("list_recipes") or given.flag("list_keys"):
        needs.ok("command", "it only prints a list")
    else:
        needs.bad("recipe", "no recipe is named", "synvita train --list shows those of the package")
    return needs


def _build(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from synvita_data.builders.dataset import BuildOptions, Chain
    from synvita_data.builders.needs import build_needs

    from .build import default_config

    synthetic, models = given.text("synthetic"), given.texts("vqa_model")
    generator = given.text("generator")
    if synthetic is None and (root := given.text("synthetic_root")) is not None:
        synthetic = f"root:{root}"
    options = BuildOptions(
        triplets=Path(str(given.text("triplets"))),
        out=Path(str(given.text("out"))),
        config=given.text("config") or default_config(synthetic, generator),
        synthetic=synthetic,
        generator=generator,
        order=given.text("order"),
        embed_synthetic=given.flag("embed_synthetic"),
        vqascores=given.path("vqascores"),
        real_root=given.path("real_root"),
        real_mapping=given.path("real_mapping"),
        embed_real=given.flag("embed_real"),
        weighting=str(given.text("weighting")),
        granularity=str(given.text("granularity")),
        tokenizer=given.text("tokenizer"),
        ignore_case=given.flag("ignore_case"),
        split=given.text("split"),
        source=given.text("source"),
        chain=Chain(models=tuple(models)),
    )
    return build_needs(
        options,
        models=models,
        settings=given.texts("settings"),
        samples=int(given.value("samples", 1)),
        hub=hub,
        machine=machine,
    )


def _generate(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from synvita_data.builders.needs import generation_needs

    return generation_needs(
        Path(str(given.text("triplets"))),
        str(given.text("generator")),
        Path(str(given.text("out"))),
        samples=int(given.value("samples", 1)),
        settings=given.texts("settings"),
        split=given.text("split"),
        source=given.text("source"),
        hub=hub,
        machine=machine,
    )


def _vqascore(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from synvita_data.builders.needs import vqascore_needs

    return vqascore_needs(
        Path(str(given.text("triplets"))),
        str(given.text("synthetic")),
        given.texts("model"),
        Path(str(given.text("out"))),
        whole_video=given.flag("whole_video"),
        frames=int(given.value("frames", 4)),
        rule=str(given.text("rule")),
        backend=str(given.text("backend")),
        preprocess=str(given.text("preprocess")),
        dtype=given.text("dtype"),
        devices=given.texts("devices"),
        split=given.text("split"),
        source=given.text("source"),
        hub=hub,
        machine=machine,
    )


def _push(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from synvita_data.builders.needs import push_needs

    return push_needs(
        Path(str(given.text("folder"))),
        str(given.text("repo")),
        str(given.text("tag")),
        private=given.flag("private"),
        token=True if given.text("token") else None,
        hub=hub,
    )


def _inspect(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor.others import inspection_needs

    return inspection_needs(
        str(given.text("dataset")),
        given.texts("config"),
        given.texts("split"),
        given.text("revision"),
        given.path("figures"),
        hub=hub,
    )


def _annotations(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor.others import annotation_needs

    return annotation_needs(given.texts("task"), Path(str(given.text("files"))), Path(str(given.text("out"))))


def _convert(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor.others import conversion_needs

    return conversion_needs(
        str(given.text("kind")),
        Path(str(given.text("source"))),
        Path(str(given.text("out"))),
        given.path("base"),
        machine,
    )


def _leaderboard(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor.others import leaderboard_needs

    return leaderboard_needs(Path(str(given.text("results"))), given.paths("markdown", "json_file"))


def _demo(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    from ..doctor.others import demo_needs

    return demo_needs(Path(str(given.text("out"))), given.flag("fine_tune"))


def _any(given: Given, hub: "HubQuestions", machine: "Machine") -> "Needs":
    """Of a command that is not known here: that its line is right, and whether its folders are there."""
    from ..doctor import Check, Needs
    from ..doctor.inputs import folder_check, writable_check

    needs = Needs("")
    needs.ok("command", "its arguments are right; more is not known of it here, it says itself what it lacks")
    if (root := given.path("real_root")) is not None:
        needs.checks.append(folder_check(root, "videos", "real videos"))
    if (out := given.path("out")) is not None:
        needs.checks.append(writable_check(out) or Check("ok", "out", f"{out} can be written"))
    return needs


_COMMANDS: dict[str, Callable[[Given, "HubQuestions", "Machine"], "Needs"]] = {
    "build": _build,
    "generate": _generate,
    "vqascore": _vqascore,
    "inspect": _inspect,
    "push": _push,
    "demo": _demo,
    "train": _train,
    "evaluate": _evaluate,
    "leaderboard": _leaderboard,
    "annotations": _annotations,
    "convert": _convert,
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
