"""The options of a run: one record, one table for the command line, every command."""

from dataclasses import fields

import pytest
import typer
from typer.testing import CliRunner

from synvita_data.cli import app
from synvita_data.commands.options import RUN_OPTIONS, run_options
from synvita_data.jobs import RunOptions


def test_every_option_of_a_run_can_be_given_on_the_command_line():
    assert set(RUN_OPTIONS) == {field.name for field in fields(RunOptions)}
    default = RunOptions()
    for name, (_, value) in RUN_OPTIONS.items():
        if name != "verify":  # a flag on the command line
            assert value == getattr(default, name)


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("generate", {"--device"}),
        ("vqascore", {"--verify"}),
        ("build", {"--device", "--shard", "--verify"}),  # its --limit is of triplets
    ],
)
def test_commands_offer_what_they_can_use(command, without):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    names = {
        "--engine",
        "--workers",
        "--device",
        "--address",
        "--shard",
        "--limit",
        "--retry-failed",
        "--verify",
    }
    assert {name for name in names if f"{name} " in shown} == names - without


def test_what_is_given_arrives_as_one_record():
    program, arrived = typer.Typer(), []

    @program.command()
    @run_options()
    def work(number: int = 1, *, run: RunOptions) -> None:
        arrived.append((number, run))

    arguments = (
        "--number 3 --workers 2 --device cpu --device cuda:1 --shard 1/4 --limit 5 --retry-failed --verify"
    )
    assert CliRunner().invoke(program, arguments.split()).exit_code == 0
    assert CliRunner().invoke(program, ["--engine", "ray", "--address", "auto"]).exit_code == 0
    local = RunOptions(
        workers=2, devices=["cpu", "cuda:1"], shard="1/4", limit=5, retry_failed=True, verify="contents"
    )
    assert arrived == [(3, local), (1, RunOptions(engine="ray", address="auto"))]
