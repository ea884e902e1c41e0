"""`write_contrasts`: from videos with captions to triplets with contrast captions, and the record of how each was made.

    read captions → decide what is asked → write and check → filter → choose → write the file

Writing and filtering are jobs of one store; a killed run continues where it stopped, and the file is the same whoever did
the work. It is written whole or not at all.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synvita_data.display import json_text
from synvita_data.errors import CaptionError, SynvitaError
from synvita_data.files import sha256_file, write_atomic
from synvita_data.jobs import CLAIMED, QUARANTINED, JobReport, Store, run_job
from synvita_data.jobs import results as job_results
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import MISALIGNMENTS, ContrastCheck, ContrastRecord, Triplet

from ...generators.base import hash_seed
from ...triplets import check_written, written_text
from ...vqascore.job import default_dtype
from ..base import Contrast, ContrastRequest
from ..checks import RULE, normal_words
from ..kinds import askable
from .inputs import CaptionedVideo, CaptionReader
from .job import FilterJob, FilterRow, WriteJob, Written, open_filter, read_answers, read_verdict
from .registry import ContrastOptions, open_writer
from .report import ContrastReport, KindCounts, in_general, text_only_of, triplets_csv


def write_contrasts(options: ContrastOptions) -> ContrastReport:
    """Write contrast captions of every caption, and the file of triplets when all of them are there.

    Beside the file stand `<name>.report.json` and `<name>.quarantine.jsonl` with a line for each input row that cannot be
    used and each request without a row.

    Raises:
        SynvitaError: the input as a whole, the writer or a filter cannot be used. What `run_job` raises.
    """
    if options.out.is_dir():
        raise SynvitaError("--out is a folder", file=options.out, expected="a name in .csv")
    run = _Run(options)
    run.read()
    run.write()
    return run.finish()


if TYPE_CHECKING:
    from ..plausible import Choice


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request, and of which caption it is."""

    place: int
    kind: str


@dataclass
class _Outcome:
    """What became of a request: usable contrast captions with the checks they passed, or why there are none."""

    contrasts: list[Contrast] = field(default_factory=list)
    checks: list[tuple[ContrastCheck, ...]] = field(default_factory=list)
    stage: str = ""
    reason: str | None = None
    error: Mapping[str, Any] | None = None


class _Incomplete(Exception):
    """Something is still to do, by another run or shard."""


class _Run:
    """One run, from its options to its report."""

    def __init__(self, options: ContrastOptions) -> None:
        self.options = options
        # The dtype that workers will have is part of the keys, whichever process makes these.
        self.filter_dtype = options.filter_dtype or default_dtype(options.run.devices, options.run.address)
        self.settings = options.settings
        if options.writer.strip().startswith("llm:") and self.settings.dtype is None:
            self.settings = replace(
                self.settings, dtype=default_dtype(options.run.devices, options.run.address)
            )
        writer = open_writer(options.writer, self.settings)
        try:
            self.record = json.loads(json.dumps(dict(writer.record())))
            able = tuple(writer.misalignments)
        finally:
            writer.close()
        if unable := [name for name in options.misalignments if name not in able]:
            raise SynvitaError(
                "the writer cannot be asked for this kind", found=", ".join(unable), expected=", ".join(able)
            )
        self.kinds = [name for name in MISALIGNMENTS if name in (options.misalignments or able)]
        self.filters = {name: self._filter_record(name, model) for name, model in self._filter_models()}
        self.videos: list[CaptionedVideo] = []
        self.counts = {name: KindCounts() for name in self.kinds}
        self.outcomes: dict[_Ask, _Outcome] = {}
        self.jobs: list[JobReport] = []
        self.usage: dict[str, float] = {}
        self.complete, self.failed = True, 0
        self._others: dict[str, dict[tuple[str, ...], str]] = {}
        self._digests: dict[Path, str] = {}
        self._unseen: set[int] = set()
        self._real = None if options.real_root is None else RealVideos(options.real_root)

    def _filter_models(self) -> list[tuple[str, str]]:
        named = (("nli", self.options.nli), ("frame-vqa", self.options.frame_vqa))
        return [(name, model) for name, model in named if model is not None]

    def _filter_record(self, name: str, model: str) -> Mapping[str, Any]:
        opened = open_filter(name, model, real_root=self.options.real_root, dtype=self.filter_dtype)
        try:
            found: Mapping[str, Any] = json.loads(json.dumps(dict(opened.record())))
            return found
        finally:
            opened.close()

    def read(self) -> None:
        """All captions."""
        o = self.options
        self.reader = CaptionReader(o.captions, split=o.split, source=o.source, config=o.config)
        self.videos = list(self.reader)
        if not self.videos:
            bad = self.reader.report.quarantined
            raise SynvitaError(
                "no caption is left to write contrast captions of",
                file=str(o.captions),
                found=str(self.reader.report),
                fix=f"First reason: {bad[0]}" if bad else None,
            )
        for video in self.videos:
            words = tuple(normal_words(video.caption))
            self._others.setdefault(video.video_key, {}).setdefault(words, video.caption)

    # -- what is asked --

    def write(self) -> None:
        """Ask for what can be asked, in rounds where a caption has enough with some of its kinds."""
        wanted: list[list[str]] = []
        for video in self.videos:
            able = []
            for kind in self.kinds:
                why = askable(video.caption, kind)
                if why is None:
                    able.append(kind)
                else:
                    self.counts[kind].not_askable[in_general(why)] += 1
            wanted.append(able)
        try:
            if self.options.per_caption is None:
                self._settle([_Ask(place, kind) for place, able in enumerate(wanted) for kind in able])
            else:
                self._in_rounds(wanted, self.options.per_caption)
        except _Incomplete:
            self.complete = False

    def _in_rounds(self, wanted: list[list[str]], most: int) -> None:
        """Ask each caption for other kinds until it has `most` rows or no kind is left."""
        for place, able in enumerate(wanted):
            able.sort(key=lambda kind: self._seed(place, kind, "order"))
        have = [0] * len(wanted)
        while True:
            asks = []
            for place, able in enumerate(wanted):
                take = most - have[place]
                asks += [_Ask(place, kind) for kind in able[:take]]
                del able[:take]
            if not asks:
                return
            self._settle(asks)
            for ask in asks:
                have[ask.place] += bool(self.outcomes[ask].contrasts)

    def _seed(self, place: int, kind: str, *more: str) -> int:
        video = self.videos[place]
        parts = [self.options.seed, video.source, video.video_id, video.caption, kind, *more]
        return hash_seed(parts, 63)

    # -- what becomes of it --

    def _settle(self, asks: Sequence[_Ask]) -> None:
        """The outcome of each request: written, checked, filtered.

        Raises:
            _Incomplete: some are still to do.
        """
        requests = {
            ask: ContrastRequest(
                self.videos[ask.place].caption,
                ask.kind,
                self._seed(ask.place, ask.kind),
                self.options.candidates,
            )
            for ask in asks
        }
        job = WriteJob(
            self.options.store / "contrast",
            self.options.writer,
            self.settings,
            self.record,
            tuple(dict.fromkeys(requests.values())),
        )
        written, failures = self._written(job)
        for ask in asks:
            self.counts[ask.kind].asked += 1
            self.outcomes[ask] = self._checked(ask, written.get(requests[ask]), failures.get(requests[ask]))
        if "nli" in self.filters:
            self._filter_nli(asks)
        if "frame-vqa" in self.filters:
            self._filter_frames(asks)
        self._refuse_repeats(asks)

    def _run_job(self, job: WriteJob | FilterJob) -> dict[str, Mapping[str, Any]]:
        """Have a job done; the errors of its keys in quarantine.

        Raises:
            _Incomplete: some keys are still to do.
        """
        report = run_job(job, self.options.run, on_progress=self.options.on_progress)
        self.jobs.append(report)
        with Store(job.root) as store:
            scan = store.scan(job.inputs())  # of all shards
            if report.held_back or report.unfinished or scan.pending or scan.counts.get(CLAIMED):
                raise _Incomplete
            failed = {key for key, state in scan.states.items() if state == QUARANTINED}
            errors: dict[str, Mapping[str, Any]] = (
                {each.key: each.error for each in store.quarantined() if each.key in failed} if failed else {}
            )
        self.failed += len(errors)
        return errors

    def _written(
        self, job: WriteJob
    ) -> tuple[dict[ContrastRequest, Written], dict[ContrastRequest, Mapping[str, Any]]]:
        errors = self._run_job(job)
        written: dict[ContrastRequest, Written] = {}
        failures: dict[ContrastRequest, Mapping[str, Any]] = {}
        for key, chunk, result in job_results(job):
            if result is None:
                failures.update(dict.fromkeys(chunk, errors.get(key, {})))
                continue
            answers, usage = read_answers(result, len(chunk))
            written.update(zip(chunk, answers, strict=True))
            for name, value in usage.items():
                self.usage[name] = self.usage.get(name, 0) + value
        return written, failures

    def _checked(self, ask: _Ask, written: Written | None, failure: Mapping[str, Any] | None) -> _Outcome:
        """What of an answer can be used, by the mechanical checks; those that need the video's other captions are here."""
        if written is None:
            error = failure or {}
            reason = str(error.get("problem", "no reason kept"))
            return _Outcome(stage="write", reason=reason, error=error)
        if written.refused is not None:
            return _Outcome(stage="write", reason=written.refused)
        video, outcome = self.videos[ask.place], _Outcome()
        reasons = [reason for _, reason in written.failed]
        passed = ContrastCheck(name="mechanical", revision=str(RULE))
        for contrast in written.contrasts:
            try:
                text = check_written(video.caption, contrast.neg_caption)
            except CaptionError as error:
                reasons.append(error.problem)
                continue
            if tuple(normal_words(text)) in self._others[video.video_key]:
                reasons.append("the contrast caption is another true caption of the video")
                continue
            outcome.contrasts.append(replace(contrast, neg_caption=text))
            outcome.checks.append((passed,))
        if not outcome.contrasts:
            outcome.stage, outcome.reason = "check", reasons[0]
        return outcome

    def _keep(self, ask: _Ask, name: str, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Keep the contrast captions of a request that a filter keeps; a check without a score is none."""
        outcome = self.outcomes[ask]
        kept = []
        for contrast, checks, verdict in zip(outcome.contrasts, outcome.checks, verdicts, strict=True):
            if verdict["kept"]:
                passed = () if verdict.get("score") is None else (_check_of(name, verdict),)
                kept.append((contrast, (*checks, *passed)))
        if outcome.contrasts and not kept:
            reason = verdicts[0].get("reason") or f"dropped by {name}"
            outcome.stage, outcome.reason = name, str(reason)
        outcome.contrasts = [contrast for contrast, _ in kept]
        outcome.checks = [checks for _, checks in kept]

    def _filter_nli(self, asks: Sequence[_Ask]) -> None:
        def row_of(ask: _Ask, contrast: Contrast) -> FilterRow:
            return FilterRow(self.videos[ask.place].caption, contrast.neg_caption)

        live = [ask for ask in asks if self.outcomes[ask].contrasts]
        rows = dict.fromkeys(row_of(ask, each) for ask in live for each in self.outcomes[ask].contrasts)
        verdicts = self._verdicts("nli", str(self.options.nli), rows)
        for ask in live:
            self._keep(ask, "nli", [verdicts[row_of(ask, each)] for each in self.outcomes[ask].contrasts])

    def _filter_frames(self, asks: Sequence[_Ask]) -> None:
        live = [ask for ask in asks if self.outcomes[ask].contrasts]
        row_of = {place: self._seen(place) for place in dict.fromkeys(ask.place for ask in live)}
        verdicts = self._verdicts(
            "frame-vqa", str(self.options.frame_vqa), (row for row in row_of.values() if row is not None)
        )
        for ask in live:
            row = row_of[ask.place]
            # Nobody could look: the video is not here, or cannot be read.
            verdict: Mapping[str, Any] = {"kept": True, "score": None, "reason": "its video is not here"}
            verdict = verdict if row is None else verdicts[row]
            if verdict.get("score") is None and not verdict.get("failed"):
                self._unseen.add(ask.place)
                verdict = {**verdict, "kept": not self.options.require_video}
            self._keep(ask, "frame-vqa", [verdict] * len(self.outcomes[ask].contrasts))

    def _seen(self, place: int) -> FilterRow | None:
        """A caption with its real video; None where that is not here."""
        video = self.videos[place]
        assert self._real is not None
        found = self._real.find_triplet(video.triplet(f"not: {video.caption}"))
        if found is None:
            return None
        if found.path not in self._digests:
            self._digests[found.path] = sha256_file(found.path)
        named = {
            name: getattr(video, name)
            for name in ("source", "video_id", "videopath", "youtube_key", "start", "end")
        }
        return FilterRow(video.caption, **named, sha256=self._digests[found.path])

    def _verdicts(
        self, name: str, model: str, rows: Iterable[FilterRow]
    ) -> dict[FilterRow, Mapping[str, Any]]:
        """What a filter says of each row; one that it cannot look at is not kept.

        Raises:
            _Incomplete: some are still to do.
        """
        o = self.options
        job = FilterJob(
            o.store / "contrast",
            name,
            model,
            self.filters[name],
            tuple(dict.fromkeys(rows)),
            real_root=o.real_root,
            dtype=self.filter_dtype,
        )
        errors = self._run_job(job)
        verdicts: dict[FilterRow, Mapping[str, Any]] = {}
        for key, row, result in job_results(job):
            if result is not None:
                verdicts[row] = read_verdict(result)
            else:
                problem = errors.get(key, {}).get("problem", "no reason kept")
                verdicts[row] = {"kept": False, "failed": True, "reason": f"the filter failed: {problem}"}
        return verdicts

    def _refuse_repeats(self, asks: Sequence[_Ask]) -> None:
        """Of two kinds of a caption with one contrast caption the first keeps it: a pair has one row."""
        taken: dict[int, set[str]] = {}
        fresh = set(asks)
        for ask, outcome in self.outcomes.items():
            own = taken.setdefault(ask.place, set())
            if ask in fresh and outcome.contrasts:
                places = [at for at, each in enumerate(outcome.contrasts) if each.neg_caption not in own]
                if not places:
                    outcome.stage, outcome.reason = "same", "another kind has the same contrast caption"
                outcome.contrasts = [outcome.contrasts[at] for at in places]
                outcome.checks = [outcome.checks[at] for at in places]
            own.update(each.neg_caption for each in outcome.contrasts)

    # -- the files --

    def finish(self) -> ContrastReport:
        """Choose, and write the files where nothing is still to do."""
        report = partial(
            ContrastReport,
            out=self.options.out,
            captions=len(self.videos),
            videos=len(self._others),
            unreadable=len(self.reader.report.quarantined),
            kinds=self.counts,
            writer=self.record,
            filters=self.filters,
            without_video=len(self._unseen),
            usage=self.usage | self._cost(),
            jobs=self.jobs,
        )
        if not self.complete:
            return report(complete=False, rows=0, stale=self.options.out.exists())
        kinds = {name: place for place, name in enumerate(self.kinds)}
        order = sorted(self.outcomes, key=lambda ask: (ask.place, kinds[ask.kind]))
        usable = [ask for ask in order if self.outcomes[ask].contrasts]
        choice = self._choose(usable)
        chosen = [0] * len(usable) if choice is None else choice.chosen
        triplets = [self._triplet(ask, at) for ask, at in zip(usable, chosen, strict=True)]
        for ask in order:
            self._count(ask)
        done = report(
            complete=True,
            rows=len(triplets),
            text_only=text_only_of(triplets) if choice is None else choice.after,
            text_only_before=None if choice is None else choice.before,
            failed=self.failed,
        )
        self._write_files(triplets, order, done)
        return done

    def _cost(self) -> dict[str, float]:
        """What the tokens cost by the prices that are given now."""
        prices = {"prompt_tokens": self.settings.price_in, "completion_tokens": self.settings.price_out}
        if all(price is None for price in prices.values()):
            return {}
        cost = sum(self.usage.get(name, 0) * (price or 0.0) for name, price in prices.items()) / 1e6
        return {"cost": round(cost, 6)}

    def _choose(self, usable: Sequence[_Ask]) -> "Choice | None":
        """Which candidate each request's row has; None where there is nothing to choose."""
        candidates = [[each.neg_caption for each in self.outcomes[ask].contrasts] for ask in usable]
        if not any(len(each) > 1 for each in candidates):
            return None
        from ..plausible import choose_plausible

        rows = [
            (self.videos[ask.place].video_key, self.videos[ask.place].caption, ask.kind) for ask in usable
        ]
        return choose_plausible(rows, candidates)

    def _triplet(self, ask: _Ask, at: int) -> Triplet:
        outcome = self.outcomes[ask]
        contrast = outcome.contrasts[at]
        known = {"writer", "revision", "prompts"}
        settings = {name: value for name, value in self.record.items() if name not in known}
        record = ContrastRecord(
            **{name: _text(self.record.get(name)) for name in known},
            settings=json.dumps(settings, sort_keys=True, ensure_ascii=False) if settings else None,
            seed=self._seed(ask.place, ask.kind),
            source_phrase=written_text(contrast.source_phrase, "source_phrase"),
            target_phrase=written_text(contrast.target_phrase, "target_phrase"),
            candidates=len(outcome.contrasts),
            checks=outcome.checks[at],
        )
        return self.videos[ask.place].triplet(
            contrast.neg_caption,
            misalignment=ask.kind,
            nle=written_text(contrast.nle, "nle"),
            contrast=record,
        )

    def _count(self, ask: _Ask) -> None:
        outcome, counts = self.outcomes[ask], self.counts[ask.kind]
        counts.written += bool(outcome.contrasts)
        if outcome.reason is None:
            return
        reason = in_general(outcome.reason)
        if outcome.stage == "write":
            counts.refused[reason] += 1
        elif outcome.stage == "check":
            counts.failed[reason] += 1
        elif outcome.stage == "same":
            counts.same += 1
        else:
            counts.filtered[outcome.stage] += 1

    def _write_files(
        self, triplets: Sequence[Triplet], order: Sequence[_Ask], report: ContrastReport
    ) -> None:
        """Quarantine and report, then the triplets: who finds the triplets finds the others too."""
        o = self.options
        lines = [{"stage": "captions", **error.to_record()} for error in self.reader.report.quarantined]
        for ask in order:
            outcome, video = self.outcomes[ask], self.videos[ask.place]
            if outcome.reason is not None:
                lines.append(
                    {
                        **{
                            name: value
                            for name, value in (outcome.error or {}).items()
                            if name in ("reason", "found")
                        },
                        "stage": outcome.stage,
                        "problem": outcome.reason,
                        "misalignment": ask.kind,
                        "caption": video.caption,
                        "file": str(video.file),
                        "row": video.row,
                    }
                )
        write_atomic(o.beside("quarantine.jsonl"), "".join(f"{json_text(line)}\n" for line in lines))
        write_atomic(o.beside("report.json"), json_text(report.to_record(), indent=1, sort_keys=True) + "\n")
        write_atomic(o.out, triplets_csv(triplets))


def _check_of(name: str, verdict: Mapping[str, Any]) -> ContrastCheck:
    facts = {key: verdict.get(key) for key in ("score", "model", "revision", "threshold")}
    return ContrastCheck(name=name, **facts)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
