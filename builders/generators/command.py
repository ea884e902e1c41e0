"""`command:TEMPLATE`: any program that reads prompts from a file and writes mp4 files into a folder.

    command:python sample.py --prompt_file {prompts} --savedir {out} --seed {seed}

The template is cut into arguments as a shell would cut it, but no shell runs it. Captions are given one a line,
`prompts_per_job` of them to a run of the program, because loading a model for one caption wastes its time; the
n-th line's video is the n-th file by `pattern`.

The unit of work is such a job: consecutive requests of the annotation file when the folder's jobs are first planned
(`plan_jobs`), and the same for good, whatever is sharded, added or reordered later. So the program sees the same
file and the same seed again, and what it makes depends on nothing else, as far as it is deterministic itself.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from synvita_data.errors import SourceError
from synvita_data.files import sha256_file
from synvita_data.jobs import Worker, work_key

from . import settings as read
from .recipe import Recipe, Request, hash_seed

PLACEHOLDERS = ("prompts", "out", "seed", "count")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
# Programs seed NumPy as a rule, which takes 32 bits; some parse a signed number.
SEED_BITS = 31
LARGEST_SCRIPT = 10_000_000


@dataclass(frozen=True)
class CommandGenerator:
    """An external program.

    Attributes:
        recipe: its settings are the template, `prompts_per_job`, `pattern`; `timeout` (seconds) is placement.
    """

    recipe: Recipe

    def inputs(self, requests: Sequence[Request]) -> dict[str, tuple[Request, ...]]:
        """One key a job of consecutive requests."""
        size = int(self.recipe.settings["prompts_per_job"])
        digest = self.recipe.digest
        jobs = [tuple(requests[start : start + size]) for start in range(0, len(requests), size)]
        return {work_key(recipe=digest, requests=_identity(job)): job for job in jobs}

    def seed(self, job: Sequence[Request]) -> int:
        """Of the job's rows, 31 bits; a job of one row has the row's own."""
        if len(job) == 1:
            return self.recipe.seed(job[0], SEED_BITS)
        return hash_seed([self.recipe.name, self.recipe.revision, _identity(job)], SEED_BITS)

    def encoders(self) -> None:
        """Not known: a program may read captions as it likes."""

    def open_worker(self, root: str, out: str, device: str | None) -> Worker:
        """A worker that runs the program; the program itself starts with each job."""
        from .command_worker import CommandWorker

        return CommandWorker(self, root, out, device)


def open_command(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> CommandGenerator:
    """The generator `command:argument`.

    Settings: `prompts_per_job` (1), `pattern` (`{index:04d}.mp4`, from 1), `timeout` (seconds a job, none),
    `revision` (default: a digest of the template and of the files that it names).

    Raises:
        SourceError: a template that cannot be cut, lacks `{prompts}` or `{out}` or has another placeholder;
            a setting that cannot be used.
    """
    read.refuse_unknown(overrides, ("prompts_per_job", "pattern", "timeout", "revision"))
    words = split_template(argument)
    settings = {
        "template": argument,
        "prompts_per_job": read.whole("prompts_per_job", overrides.get("prompts_per_job", 1)),
        "pattern": _checked_pattern(read.text("pattern", overrides.get("pattern", "{index:04d}.mp4"))),
    }
    timeout = overrides.get("timeout")
    revision = overrides.get("revision")
    recipe = Recipe(
        scheme="command",
        name=name or "command",
        revision=_program_revision(argument, words) if revision is None else read.text("revision", revision),
        settings=settings,
        placement={"timeout": None if timeout is None else read.number("timeout", timeout, above=0)},
    )
    return CommandGenerator(recipe)


def split_template(template: str) -> list[str]:
    """The template as arguments, placeholders still in it. Raises SourceError, see `open_command`."""
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise SourceError("the template cannot be cut", found=template, expected=str(error)) from error
    found = {match[1] for word in words for match in _PLACEHOLDER.finditer(word)}
    if unknown := sorted(found - set(PLACEHOLDERS)):
        raise SourceError(
            "no such placeholder",
            found=f"{{{unknown[0]}}}",
            expected=", ".join(f"{{{name}}}" for name in PLACEHOLDERS),
        )
    if missing := [name for name in ("prompts", "out") if name not in found]:
        raise SourceError(
            f"the template does not say where {'the prompts are' if missing[0] == 'prompts' else 'videos go'}",
            found=template or "an empty template",
            expected="a program with {prompts} and {out} among its arguments",
        )
    return words


def fill_template(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """The arguments with each placeholder replaced, once: what a value holds is not looked into."""
    return [_PLACEHOLDER.sub(lambda match: str(values[match[1]]), word) for word in words]


def output_name(pattern: str, index: int) -> str:
    """The file that the program makes of the `index`-th prompt, counted from 1."""
    return pattern.format(index=index)


def _checked_pattern(pattern: str) -> str:
    try:
        names = {output_name(pattern, index) for index in (1, 2, 10)}
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise SourceError("the pattern cannot be used", found=pattern, expected="{index:04d}.mp4") from error
    path = PurePosixPath(output_name(pattern, 1))
    if len(names) < 3 or path.is_absolute() or ".." in path.parts:
        raise SourceError(
            "the pattern cannot be used",
            found=pattern,
            expected="a file in {out} for each index, such as {index:04d}.mp4",
        )
    return pattern


def _identity(job: Sequence[Request]) -> list[list[Any]]:
    return [[request.pair_id, request.caption, request.sample] for request in job]


def _program_revision(template: str, words: Sequence[str]) -> str:
    digest = hashlib.sha256(template.encode())
    for word in words:
        path = Path(word)
        if not _PLACEHOLDER.search(word) and path.is_file() and path.stat().st_size <= LARGEST_SCRIPT:
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:16]
