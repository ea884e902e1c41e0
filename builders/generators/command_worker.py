"""The worker of `command:`: one run of the program a claim."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from synvita_data.errors import CaptionError, EngineError, SourceError, SynvitaError
from synvita_data.jobs import Claim, Store

from ..sources.public import public_config
from .command import fill_template, output_name, split_template
from .failures import LONGEST, PROGRAM_FAILED, ProgramError, settling_requests
from .folder import place_videos
from .recipe import VIDEO, Request, video_fields
from .versions import library_versions

if TYPE_CHECKING:
    from synvita_data.video import VideoInfo

    from .command import CommandGenerator


class CommandWorker:
    """Runs the program of a template; see `builders.generators.command`."""

    def __init__(self, generator: "CommandGenerator", root: str, out: str, device: str | None) -> None:
        self._generator = generator
        self._recipe = generator.recipe
        self._words = split_template(str(self._recipe.settings["template"]))
        if shutil.which(self._words[0]) is None:
            raise _cannot_start(self._words[0], "no such program")
        self._store = Store(root)
        self._out = Path(out)
        self._environment = _with_device(device)

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        """Run the program for every claim."""
        for claim, requests in held:
            with settling_requests(claim, requests):
                self._make(claim, requests)

    def close(self) -> None:
        """Nothing is held between jobs."""

    def _make(self, claim: Claim, requests: Sequence[Request]) -> None:
        names = (
            [VIDEO] if len(requests) == 1 else [f"{number:04d}.mp4" for number in range(1, len(requests) + 1)]
        )
        places = [claim.path(name) for name in names]
        folder = places[0].parent / "program"
        made = folder / "videos"
        made.mkdir(parents=True)
        prompts = folder / "prompts.txt"
        prompts.write_text("".join(f"{one_line(request)}\n" for request in requests), encoding="utf-8")
        seed = self._generator.seed(requests)
        values = {"prompts": prompts, "out": made, "seed": seed, "count": len(requests)}
        ran = self._run_program(fill_template(self._words, values), folder)
        pattern = str(self._recipe.settings["pattern"])
        wanted = [output_name(pattern, index) for index in range(1, len(requests) + 1)]
        found = find_outputs(made, wanted, ran)
        if missing := [name for name in wanted if name not in found]:
            there = sorted(str(path.relative_to(made)) for path in _files_below(made))
            raise ProgramError(
                f"the program made {len(wanted) - len(missing)} of {len(wanted)} videos",
                found=", ".join(there[:5]) + (", …" if len(there) > 5 else "") or "no files",
                expected=", ".join(missing[:5]) + (", …" if len(missing) > 5 else ""),
                fix="Set --set pattern=… to how the program names its files",
                details=ran,
            )
        config = {
            **public_config(self._recipe.settings),
            "seed_of": "the row" if len(requests) == 1 else f"a job of {len(requests)}",
            "versions": library_versions(("synvita-data",)),
        }
        videos = {}
        for name, wanted_name, place, request in zip(names, wanted, places, requests, strict=True):
            info = _checked(found[wanted_name], wanted_name, ran)
            if list(found.values()).count(found[wanted_name]) == 1:
                found[wanted_name].rename(place)
            else:  # links of the program to one video
                shutil.copyfile(found[wanted_name], place)
            shape = {
                "frames": info.frames,
                "height": info.height,
                "width": info.width,
                "fps": float(info.fps),
            }
            videos[name] = video_fields(self._recipe, request, seed, {**config, **shape})
        if claim.commit({"videos": videos}):
            place_videos(self._out, self._store.validate(claim.key))

    def _run_program(self, arguments: list[str], folder: Path) -> dict[str, Any]:
        """Run it to its end; what it wrote on standard error, for the record of a failure."""
        timeout = self._recipe.placement["timeout"]
        log = folder / "stderr.txt"
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
                code = program.wait(timeout)
            except subprocess.TimeoutExpired:
                _end(program)
                raise ProgramError(
                    "the program took too long and was ended",
                    found=f"{time.monotonic() - began:.0f} s",
                    expected=f"timeout={timeout:g} s",
                    details={"stderr": _tail(log)},
                ) from None
            except BaseException:  # we are being stopped
                _end(program)
                raise
            finally:
                _end_group(program)
        details = {"exit_code": code, "stderr": _tail(log)}
        if code:
            how = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
            raise ProgramError(PROGRAM_FAILED, found=how, details=details)
        return details


def find_outputs(made: Path, wanted: Sequence[str], ran: Mapping[str, Any]) -> dict[str, Path]:
    """Wanted name -> the regular file that it is, at `made/name` or once at any depth below; without the missing.

    A link counts as what it points to, if that is a file below `made` too.

    Args:
        ran: kept with the errors, as `ProgramError.details`.

    Raises:
        ProgramError: a name is there more than once, or is a link to elsewhere.
    """
    # By the last part of the name: a folder of thousands of files is walked once.
    below: dict[str, list[Path]] = {}
    for path in _files_below(made):
        below.setdefault(path.name, []).append(path)
    found = {}
    for name in wanted:
        parts = PurePosixPath(name).parts
        same = [
            path for path in below.get(parts[-1], ()) if path.relative_to(made).parts[-len(parts) :] == parts
        ]
        direct = [path for path in same if path == made / name] or same
        if len(direct) > 1:
            raise ProgramError(
                "the program made more than one file of a name",
                found=", ".join(sorted(str(path.relative_to(made)) for path in direct)[:5]),
                expected=f"one {name} below {{out}}",
                fix="Set --set pattern=… with the folder in it",
                details=ran,
            )
        if direct:
            target = direct[0].resolve()
            if direct[0].is_symlink() and not target.is_relative_to(made.resolve()):
                raise ProgramError(
                    "an output of the program is a link",
                    found=f"{name}, to {direct[0].readlink().name} elsewhere",
                    expected="a file, or a link to one below {out}",
                    details=ran,
                )
            if target.is_file():
                found[name] = target
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    """Files and links to files; linked folders are not entered."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_symlink() or path.is_file():
                yield path


def _checked(path: Path, name: str, ran: Mapping[str, Any]) -> "VideoInfo":
    """What the video is. Raises ProgramError with the name the program gave it: its place here is temporary."""
    from synvita_data.video import check_video

    try:
        return check_video(path)
    except EngineError:
        raise
    except SynvitaError as error:
        raise ProgramError(
            f"the program's {name} is no usable video: {error.problem}",
            found=error.found,
            expected=error.expected,
            details={**ran, "reason": type(error).__name__},
        ) from error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _cannot_start(program: str, why: str) -> EngineError:
    return EngineError(
        "the program cannot be started",
        found=f"{program}: {why}",
        fix="Give a program on the PATH, or its absolute path",
    )


def one_line(request: Request) -> str:
    """A caption as one line of a prompts file: white space, line ends included, becomes single spaces.

    Raises:
        CaptionError: nothing is left; a program that skips empty lines would shift all that follow.
    """
    line = " ".join(request.caption.split())
    if not line:
        raise CaptionError("there is no caption to make a video from", found=repr(request.caption))
    return line


def _end(program: "subprocess.Popen[bytes]") -> None:
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


def _tail(log: Path) -> str:
    content = log.read_bytes()
    return content[-LONGEST:].decode(errors="replace")


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
            "no such GPU", found=device, expected=f"one of the {len(visible)} of CUDA_VISIBLE_DEVICES"
        )
    environment["CUDA_VISIBLE_DEVICES"] = visible[number] if visible else str(number)
    return environment
