"""`command:TEMPLATE`: any program that reads prompts from a file and writes mp4 files into a folder.

    command:python sample.py --prompt_file {prompts} --savedir {out} --seed {seed}

The template is cut into arguments as a shell would cut it, but no shell runs it. Captions are given one a line,
`prompts_per_job` of them to a run of the program, because loading a model for one caption wastes its time; the
n-th line's video is the n-th file by `pattern`.

The unit of work is such a job: consecutive requests of the annotation file when the folder's jobs are first planned
(`plan_jobs`), and the same for good, whatever is sharded, added or reordered later. So the program sees the same
file and the same seed again, and what it makes depends on nothing else, as far as it is deterministic itself.
"""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from synvita_data.errors import CaptionError, EngineError, SourceError, SynvitaError, choose
from synvita_data.files import sha256_file
from synvita_data.jobs import Claim, Store, Worker, work_key
from synvita_data.versions import installed

from ..sources.manifest import public_config
from .base import (
    LONGEST,
    PROGRAM_FAILED,
    VIDEO,
    Recipe,
    Request,
    hash_seed,
    quarantining,
    read_number,
    read_text,
    read_whole,
    refuse_unknown,
    video_fields,
)
from .folder import place_videos

if TYPE_CHECKING:
    from synvita_data.video import VideoInfo

PLACEHOLDERS = ("prompts", "out", "seed", "count")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
# Programs seed NumPy as a rule, which takes 32 bits; some parse a signed number.
SEED_BITS = 31
LARGEST_SCRIPT = 10_000_000
SHOWN = 5


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
        return CommandWorker(self, root, out, device)


def open_generator(
    argument: str, overrides: Mapping[str, Any], name: str | None, cache: Path | None
) -> CommandGenerator:
    """The generator `command:argument`.

    Args:
        argument: the template.
        overrides: `prompts_per_job` (1), `pattern` (`{index:04d}.mp4`, from 1), `timeout` (seconds a job, none),
            `revision` (default: a digest of the template and of the files that it names).
        name: recorded as the generator; default `command`.
        cache: not used.

    Raises:
        SourceError: the template cannot be cut, lacks `{prompts}` or `{out}` or has another placeholder, or a
            setting cannot be used.
    """
    refuse_unknown(overrides, ("prompts_per_job", "pattern", "timeout", "revision"))
    words = split_template(argument)
    timeout, revision = overrides.get("timeout"), overrides.get("revision")
    settings = {
        "template": argument,
        "prompts_per_job": read_whole("prompts_per_job", overrides.get("prompts_per_job", 1)),
        "pattern": _checked_pattern(read_text("pattern", overrides.get("pattern", "{index:04d}.mp4"))),
    }
    recipe = Recipe(
        scheme="command",
        name=name or "command",
        revision=_program_revision(argument, words) if revision is None else read_text("revision", revision),
        settings=settings,
        placement={"timeout": None if timeout is None else read_number("timeout", timeout, above=0)},
    )
    return CommandGenerator(recipe)


def split_template(template: str) -> list[str]:
    """The template as arguments, placeholders still in it. Raises SourceError, see `open_generator`."""
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise SourceError("the template cannot be cut", found=template, expected=str(error)) from error
    found = {match[1] for word in words for match in _PLACEHOLDER.finditer(word)}
    for name in sorted(found):
        choose(f"{{{name}}}", [f"{{{known}}}" for known in PLACEHOLDERS], "placeholder", error=SourceError)
    for name, what in (("prompts", "where the prompts are"), ("out", "where videos go")):
        if name not in found:
            raise SourceError(
                f"the template does not say {what}",
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
    """`pattern` if it names a file below `{out}` for each index. Raises SourceError."""
    names: set[str] = set()
    with contextlib.suppress(KeyError, IndexError, ValueError, AttributeError):
        names = {output_name(pattern, index) for index in (1, 2, 10)}
    paths = [PurePosixPath(name) for name in names]
    if len(paths) < 3 or any(path.is_absolute() or ".." in path.parts for path in paths):
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


class ProgramError(SynvitaError):
    """An external program failed.

    Attributes:
        details: kept beside the reason: its exit code and what it wrote on standard error.
    """

    details: Mapping[str, Any] | None = None


class CommandWorker:
    """Runs the program of a template, once a claim.

    Args:
        generator: whose template it is.
        root: folder of the store.
        out: folder where finished videos appear.
        device: of which the program sees the GPU.
    """

    def __init__(self, generator: CommandGenerator, root: str, out: str, device: str | None) -> None:
        self._generator = generator
        self._recipe = generator.recipe
        self._words = split_template(str(self._recipe.settings["template"]))
        if shutil.which(self._words[0]) is None:
            raise _cannot_start(self._words[0], "the program does not exist")
        self._store = Store(root)
        self._out = Path(out)
        self._environment = _with_device(device)

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        """Run the program for every claim."""
        for claim, requests in held:
            with quarantining(claim, requests):
                self._make(claim, requests)

    def close(self) -> None:
        """Nothing is held between jobs."""

    def _make(self, claim: Claim, requests: Sequence[Request]) -> None:
        """Run the program for these requests, and commit its videos."""
        # Its folder and its prompts.
        numbers = range(1, len(requests) + 1)
        names = [VIDEO] if len(requests) == 1 else [f"{number:04d}.mp4" for number in numbers]
        places = [claim.path(name) for name in names]
        folder = places[0].parent / "program"
        made, prompts, log = folder / "videos", folder / "prompts.txt", folder / "stderr.txt"
        made.mkdir(parents=True)
        prompts.write_text("".join(f"{one_line(request)}\n" for request in requests), encoding="utf-8")
        # The program, and where each of its videos is.
        seed = self._generator.seed(requests)
        values = {"prompts": prompts, "out": made, "seed": seed, "count": len(requests)}
        config = {
            **public_config(self._recipe.settings),
            "seed_of": "the row" if len(requests) == 1 else f"a job of {len(requests)}",
            "versions": installed(("synvita-data",)),
        }
        wanted = [output_name(str(self._recipe.settings["pattern"]), number) for number in numbers]
        ran: dict[str, Any] = {}
        videos: dict[str, dict[str, Any]] = {}
        try:
            ran["exit_code"] = code = self._run_program(fill_template(self._words, values), log)
            if code:
                # Real-time signals have no names.
                signals = {number.value: number.name for number in signal.Signals}
                ended_by = signals.get(-code, f"signal {-code}")
                how = f"exit code {code}" if code > 0 else f"ended by {ended_by}"
                raise ProgramError(PROGRAM_FAILED, found=how)
            # Videos that decode move to their places in the store.
            outputs = find_outputs(made, wanted, others=self._other_names(len(requests)))
            for name, output, place, request in zip(names, outputs, places, requests, strict=True):
                info = _checked(output, wanted[len(videos)])
                if outputs.count(output) == 1:
                    output.rename(place)
                else:  # links of the program to one video
                    shutil.copyfile(output, place)
                shape = {"frames": info.frames, "height": info.height, "width": info.width}
                shown = {**config, **shape, "fps": float(info.fps)}
                videos[name] = video_fields(self._recipe, request, seed, shown)
        except ProgramError as error:
            error.details = {**ran, "stderr": log.read_bytes()[-LONGEST:].decode(errors="replace")}
            raise
        if claim.commit({"videos": videos}):
            place_videos(self._out, self._store.validate(claim.key))

    def _other_names(self, count: int) -> tuple[str, ...]:
        """Names by the pattern that no prompt has: with one of them files are not numbered as prompts are, from 1, or
        there are several a prompt. All files of a single prompt are its own."""
        pattern = str(self._recipe.settings["pattern"])
        return () if count == 1 else tuple(output_name(pattern, number) for number in (0, count + 1))

    def _run_program(self, arguments: list[str], log: Path) -> int:
        """Run it to its end, with what it writes in `log`; its exit code."""
        timeout = self._recipe.placement["timeout"]
        with log.open("wb") as errors:
            try:
                program = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    env=self._environment,
                    start_new_session=True,  # so that what it starts can be ended with it
                )
            except OSError as error:  # would be so for every row
                raise _cannot_start(arguments[0], str(error.strerror)) from error
            began = time.monotonic()
            try:
                return program.wait(timeout)
            except subprocess.TimeoutExpired:
                _end(program)
                raise ProgramError(
                    "the program took too long and was ended",
                    found=f"{time.monotonic() - began:.0f} s",
                    expected=f"timeout={timeout:g} s",
                ) from None
            except BaseException:  # we are being stopped
                _end(program)
                raise
            finally:
                _end_group(program)


def find_outputs(made: Path, wanted: Sequence[str], *, others: Sequence[str] = ()) -> list[Path]:
    """The regular file of each wanted name, at `made/name` or once at any depth below.

    A link counts as what it points to, if that is a file below `made` too.

    Args:
        made: folder that the program wrote into.
        wanted: a name a prompt.
        others: names that would show that the program numbers its files in another way.

    Raises:
        ProgramError: a name is missing, is there more than once, or is a link to elsewhere; or one of `others` is there.
    """
    # By the last part of the name: a folder of thousands of files is walked once. Linked folders are not entered.
    below: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(made):
        for path in (Path(folder, name) for name in names):
            if path.is_symlink() or path.is_file():
                below.setdefault(path.name, []).append(path)

    def called(name: str) -> list[Path]:
        parts = PurePosixPath(name).parts
        return [
            path for path in below.get(parts[-1], ()) if path.relative_to(made).parts[-len(parts) :] == parts
        ]

    if more := [name for name in others if called(name)]:
        raise ProgramError(
            "the program's videos are not numbered as its prompts are",
            found=f"{', '.join(more)} for {len(wanted)} prompts",
            expected=f"{wanted[0]} to {wanted[-1]}, the n-th of the n-th prompt",
            fix="Have the program number its files from 1, one a prompt, or set prompts_per_job=1",
        )
    found, missing = [], []
    for name in wanted:
        same = called(name)
        direct = [path for path in same if path == made / name] or same
        if len(direct) > 1:
            raise ProgramError(
                "the program made more than one file of a name",
                found=", ".join(sorted(str(path.relative_to(made)) for path in direct)[:SHOWN]),
                expected=f"one {name} below {{out}}",
                fix="Set --set pattern=… with the folder in it",
            )
        target = direct[0].resolve() if direct else None
        if target is not None and direct[0].is_symlink() and not target.is_relative_to(made.resolve()):
            raise ProgramError(
                "an output of the program is a link",
                found=f"{name}, to {direct[0].readlink().name} elsewhere",
                expected="a file, or a link to one below {out}",
            )
        if target is not None and target.is_file():
            found.append(target)
        else:
            missing.append(name)
    if missing:
        there = sorted(str(path.relative_to(made)) for paths in below.values() for path in paths)
        raise ProgramError(
            f"the program made {len(found)} of {len(wanted)} videos",
            found=_first_names(there) or "no files",
            expected=_first_names(missing),
            fix="Set --set pattern=… to how the program names its files",
        )
    return found


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _checked(path: Path, name: str) -> "VideoInfo":
    """What the video is. Raises ProgramError with the name the program gave it: its place here is temporary."""
    from synvita_data.video import check_video

    try:
        return check_video(path)
    except EngineError:
        raise
    except SynvitaError as error:
        failed = ProgramError(
            f"the program's {name} is not a usable video: {error.problem}",
            found=error.found,
            expected=error.expected,
        )
        failed.reason = type(error).__name__
        raise failed from error


def one_line(request: Request) -> str:
    """A caption as one line of a prompts file: white space, line ends included, becomes single spaces.

    Raises:
        CaptionError: nothing is left; a program that skips empty lines would shift all that follow.
    """
    line = " ".join(request.caption.split())
    if not line:
        raise CaptionError("there is no caption to make a video from", found=repr(request.caption))
    return line


def _cannot_start(program: str, why: str) -> EngineError:
    return EngineError(
        "the program cannot be started",
        found=f"{program}: {why}",
        fix="Give a program on the PATH, or its absolute path",
    )


def _end(program: "subprocess.Popen[bytes]") -> None:
    """Ask the program to stop, and kill it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGTERM)
    try:
        program.wait(5)
    except subprocess.TimeoutExpired:
        _end_group(program)
        program.wait()


def _end_group(program: "subprocess.Popen[bytes]") -> None:
    """Kill what the program left behind; its group is its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)


def _with_device(device: str | None) -> dict[str, str]:
    """The environment in which the program sees this worker's GPU alone.

    Raises:
        SourceError: the worker's GPU is not one of CUDA_VISIBLE_DEVICES.
    """
    environment = dict(os.environ)
    if device is None or not device.startswith("cuda:"):
        return environment
    number = int(device.removeprefix("cuda:"))
    visible = [part for part in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    if visible and number >= len(visible):
        raise SourceError(
            "unknown GPU", found=device, expected=f"one of the {len(visible)} of CUDA_VISIBLE_DEVICES"
        )
    environment["CUDA_VISIBLE_DEVICES"] = visible[number] if visible else str(number)
    return environment
