"""The sources `diffusers:`, `lavie:`, `videocrafter2:` and `command:`: videos are made, then found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synvita_data.errors import SourceError, SynvitaError
from synvita_data.files import resolve_under
from synvita_data.jobs import JobReport
from synvita_data.schema import Triplet

from ..sources.manifest import NAME as MANIFEST
from ..sources.manifest import read_manifest
from ..sources.source import FoundVideos, SyntheticVideo
from .folder import read_failures
from .registry import open_generator
from .run import generate_videos


def open_source(
    argument: str, *, scheme: str, generator: str | None, work: Path | None, making: Mapping[str, Any]
) -> "GeneratedSource":
    """The source `scheme:argument`; videos are kept in `work/generated/`.

    Args:
        generator: of a build; not used, because a generator has a name of its own (`making["name"]` sets
            another): the same videos must not depend on which config they go into.
        making: keyword arguments of `generate_videos`.

    Raises:
        SourceError: no folder to work in, no such model, or a setting that it cannot use.
    """
    if work is None:
        raise SourceError(f"{scheme}: makes videos and needs a folder to keep them in")
    spec = f"{scheme}:{argument}"
    opened = open_generator(
        spec, making.get("overrides", ()), name=making.get("name"), cache=work / "weights.json"
    )
    # A build with other settings takes another folder; the videos of this one stay for when it comes back.
    return GeneratedSource(
        spec, work / "generated" / opened.recipe.digest[:16], opened.recipe.name, dict(making)
    )


@dataclass
class GeneratedSource:
    """Makes what is missing when it is asked, and gives it with its records.

    Attributes:
        spec, making: for `generate_videos`. folder: where the videos are. generator: recorded name.
        report: of the last run, None before.
    """

    spec: str
    folder: Path
    generator: str
    making: dict[str, Any] = field(default_factory=dict)
    report: JobReport | None = None

    def find(self, triplets: Sequence[Triplet]) -> FoundVideos:
        """The videos of `triplets`; a request that fails is quarantined with its reason.

        Raises:
            SynvitaError: what `generate_videos` raises, or a run that a limit or lost workers left unfinished:
                a dataset must not silently lack videos.
        """
        self.report = generate_videos(triplets, self.spec, self.folder, **self.making)
        if self.report.held_back or self.report.unfinished:
            raise SynvitaError(
                "not all videos are made yet",
                file=self.folder,
                found="; ".join(self.report.lines()),
                fix="Run again; what is done stays",
            )
        if self.report.failed and not self.report.done:
            raise SourceError(
                "no video could be made",
                file=self.folder,
                found="; ".join(self.report.lines()),
                fix=f"All reasons are in {self.folder}/quarantine.jsonl; mend the cause, then --retry-failed",
            )
        samples = int(self.making.get("samples", 1))
        # The folder may hold more: of other triplets and samples, of an earlier build.
        wanted = {(triplet.pair_id, n) for triplet in triplets for n in range(1, samples + 1)}
        found = FoundVideos()
        for line in read_manifest(self.folder / MANIFEST):
            if isinstance(line, SourceError):
                raise line
            sample = line.sample or 1
            # Made by an earlier build that did not mind.
            cut = self.making.get("prompt_too_long") == "quarantine" and "cut_at" in (line.prompt or {})
            if (line.id, sample) in wanted and not cut:
                path = resolve_under(self.folder, line.path)
                found.videos.setdefault(line.id, []).append(
                    SyntheticVideo(
                        path,
                        sample,
                        line.generator,
                        line.revision,
                        line.seed,
                        line.config,
                        line.sha256,
                        line.prompt,
                    )
                )
        for videos in found.videos.values():
            videos.sort(key=lambda video: video.sample)
        found.quarantined = [error for ids, error in read_failures(self.folder) if ids & wanted]
        return found
