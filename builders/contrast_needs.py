"""What `synvita contrast`, and a build from captions alone, need, and what of it is there; no model is loaded."""

import time
from pathlib import Path
from typing import Any

from synvita_data.display import counted
from synvita_data.doctor.inputs import SECONDS, add_folder, add_output
from synvita_data.doctor.memory import Memory, memory_check, weights_part
from synvita_data.doctor.models import find_model
from synvita_data.doctor.report import Needs
from synvita_data.errors import SynvitaError
from synvita_data.schema import MISALIGNMENTS

from .contrast.kinds import askable
from .contrast.writing.inputs import SUFFIXES, CaptionReader
from .contrast.writing.registry import WriterSettings, open_writer, parse_writer, ready
from .vqascore import default_dtype


def contrast_needs(given: Any, needs: Needs) -> None:
    """What writing contrast captions needs.

    Args:
        given: the command's parameters by name.
        needs: to which it is added.
    """
    add_writing(given, needs)
    if given.out.suffix.lower() != ".csv":
        needs.bad("out", f"{given.out} is not named as a CSV file", "Name a file that ends with .csv")
    else:
        work = given.work or given.out.with_suffix(".work")
        found = ", work in progress is there" if (work / "contrast").is_dir() else ""
        add_output(needs, given.out.parent, f"triplets go into {given.out}, work into {work}{found}")
    needs.disk()


def add_writing(given: Any, needs: Needs) -> None:
    """Add what the captions are, who writes, and which filters there are; of `contrast` or of `build`."""
    add_captions(needs, given)
    if given.writer is None:
        needs.bad("writer", "none is named", "--writer rules, llm:MODEL, api:URL#MODEL or shapes")
        return
    try:
        _add_writer(needs, given)
    except SynvitaError as error:
        needs.failed("writer", error)
    for model in (given.nli, given.frame_vqa):
        if model is not None:
            find_model(needs, model)
    if given.frame_vqa is not None:
        if given.real_root is None:
            needs.bad("videos", "--frame-vqa looks at real videos", "Say where they lie with --real-root DIR")
        else:
            add_folder(needs, given.real_root, "videos", "real videos")
    if given.nli or given.frame_vqa or str(given.writer).startswith("llm:"):
        needs.packages("score")


def add_captions(needs: Needs, given: Any) -> None:
    """Read the captions as far as a few seconds go, and count those that can be asked for each kind."""
    path = Path(given.captions).expanduser()
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        if path.is_dir():
            needs.ok("captions", f"{path} is a folder, which `datasets` reads when it runs")
        else:
            needs.warn("captions", f"{given.captions} is no file here: a dataset of the Hub, if there is one")
        return
    split = given.split if isinstance(given.split, str) else None
    reader, end = CaptionReader(path, split=split, source=given.source), time.monotonic() + SECONDS
    able, more, count = dict.fromkeys(MISALIGNMENTS, 0), "", 0
    try:
        for video in reader:
            count += 1
            for kind in MISALIGNMENTS:
                able[kind] += askable(video.caption, kind) is None
            if time.monotonic() > end:
                more = " and more"
                break
    except SynvitaError as error:
        needs.failed("captions", error)
        return
    bad = reader.report.quarantined
    text = f"{path}: {counted(count, 'captions')} of {reader.report.videos:,} videos{more}"
    if not count:
        needs.bad("captions", f"{path}: no row can be used" + (f", first: {bad[0]}" if bad else ""))
    elif bad:
        needs.warn("captions", f"{text}; {len(bad):,} cannot be used, first: {bad[0]}")
    else:
        needs.ok("captions", text)
    needs.ok("kinds", "can be asked for: " + ", ".join(f"{kind} {n:,}" for kind, n in able.items()))


def _add_writer(needs: Needs, given: Any) -> None:
    """What the writer needs: tables, a model, or a server with its key.

    Raises:
        SynvitaError: it cannot be used.
    """
    settings = WriterSettings.named(given.writer, vars(given))
    scheme, argument = parse_writer(given.writer, settings)
    if scheme != "llm":
        writer = open_writer(given.writer, settings)
        try:
            revision = str(writer.record().get("revision"))[:16]
            ready(writer)  # of a server: it answers a short question
            needs.ok("writer", f"{writer.name}, revision {revision}")
        finally:
            writer.close()
        return
    if given.prompts is not None:
        add_folder(needs, Path(given.prompts), "prompts", "prompts in place of the package's")
    found = find_model(
        needs,
        argument,
        given.llm_revision,
        adapter=given.llm_adapter,
        adapter_revision=given.llm_adapter_revision,
    )
    if found is None:
        return
    devices = getattr(given, "devices", None)
    dtype = given.llm_dtype or default_dtype(devices, getattr(given, "address", None))
    needs.ok("dtype", f"weights are loaded in {dtype}")
    if found.base.parameters:
        needs.memory = Memory((weights_part(found.base.parameters, dtype),))
    device, spread = devices[0] if devices else None, given.llm_device_map is not None
    needs.checks.append(memory_check(needs.memory, needs.machine, device=device, spread=spread))
