"""What a build leaves in its folder: shards in their place, `build.json`, the list of rows left out, card and figure.

The report holds no clock times and no absolute paths, so that equal inputs give equal bytes. A reader of OUT sees a config
as it was before or as it is after. Builds of several configs may finish at the same moment: a claim on `OUT/.work/finish`
makes them take turns.
"""

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, get_args

from synvita_data import __version__
from synvita_data.dataset.built import local_config
from synvita_data.dataset.inspection import figure_name, scores_by_pair, shared_scores
from synvita_data.display import json_text
from synvita_data.errors import SchemaError, SynvitaError, parsing
from synvita_data.files import exchange_folder, parse_json, remove_temporaries, sha256_file, write_atomic
from synvita_data.hub.places import without_own_places
from synvita_data.jobs import Artefact, Store
from synvita_data.real_videos.find import RealVideos
from synvita_data.schema import CONTRAST_VERSION, SCHEMA_VERSION
from synvita_data.tables.scores import Binding

from ..sources import FoundVideos
from ..training_csv import TrainingReport
from ..triplets import ReadReport
from .beside import SUFFIXES, Beside
from .card import CARD_MARK, VIEWER_ROW_BYTES, render_card
from .options import BuildOptions
from .rows import ScoresLeft
from .shards import Shard
from .totals import SplitTotals, Totals

CARD, REPORT, QUARANTINE = "README.md", "build.json", "quarantine.jsonl"
FIRST_SHOWN = 100
_SHARD_NAME = re.compile(r"[a-z]+-\d{5}-of-\d{5}\.parquet")
# Shards of other inputs may belong to a build that is running now; after a day without a sign they do not.
ABANDONED_AFTER = 24 * 3600.0
TURNS = "finish"


# --- the record of a config ------------------------------------------------------------------------


def config_record(
    options: BuildOptions,
    *,
    key: str,
    read: ReadReport,
    totals: Totals,
    shards: Sequence[Shard],
    files: Mapping[str, Artefact],
    quarantine: Sequence[Mapping[str, Any]],
    found: FoundVideos,
    scores: ScoresLeft,
    real_videos: RealVideos | None,
    beside: Beside,
) -> dict[str, Any]:
    """Everything the card, `inspect` and `push` need to know of one config.

    Args:
        options: what was asked for.
        key: digest of all inputs; a build with the same key has nothing to do.
        read: what became of the rows of the annotation file.
        totals: of the rows.
        shards: their files.
        files: shard name -> the file as written.
        quarantine: the rows left out.
        found: the synthetic videos, and which files belong to no triplet.
        scores: what no row took of the score table.
        real_videos: who looked for the real videos, and knows which were refused (their rows stay, without them) and
            which do not fit their names.
        beside: who works out the text-only AUC.
    """
    rows = len(totals)
    splits = totals.in_order()
    weights = [weight for _, split in splits for weight in split.weights]
    real_found = totals.sum("real")
    counts = {
        "synthetic_video": totals.sum("synthetic"),
        "vqascores": totals.sum("scored"),
        "weight_above_zero": sum(weight > 0 for weight in weights),
        "real_video_found": real_found,
        "real_video_embedded": real_found if options.embed_real else 0,
        "nle": totals.sum("nle"),
    }
    granularities = _counted(totals.counter("granularities"))
    doubts = real_videos.doubts if real_videos else []
    return {
        "key": key,
        "options": options.recorded(),
        "triplets": {
            "read": read.rows,
            "duplicates": len(read.duplicates),
            "quarantined": len(read.quarantined),
        },
        "rows": rows,
        "quarantined": len(quarantine),
        "quarantine_reasons": _counted(record["reason"] for record in quarantine),
        "splits": {
            name: _split_record(split, [shard for shard in shards if shard.split == name], files)
            for name, split in splits
        },
        "coverage": {name: [count, rows] for name, count in counts.items()},
        "mean_weight": sum(weights) / len(weights) if weights else None,
        "sources": _counted(totals.counter("sources")),
        "generators": _generators(totals),
        "scorers": _scorers(totals.counter("scorers")),
        **rows_known(totals, scores),
        "text_only": beside.text_only(),
        **contrast_record(totals),
        # How many rows were cut into words by which libraries, where the plain rule did not serve all of them.
        **({"granularities": granularities} if any("+" in name for name in granularities) else {}),
        "unused_scores": scores.unused,
        "unmatched_videos": len(found.unmatched),
        "unmatched_videos_first": sorted(found.unmatched)[:FIRST_SHOWN],
        **({"authors_videos": _authors_videos(found, totals)} if found.origin else {}),
        **({"training_csv": read.record()} if isinstance(read, TrainingReport) else {}),
        **_first_errors("real_videos_refused", real_videos.problems if real_videos else [], options),
        # Only where there are any, so that other reports stay as they were.
        **(_first_errors("real_videos_doubted", doubts, options) if doubts else {}),
        "largest_row_bytes": max((max(split.sizes) for _, split in splits), default=0),
        "rows_over_viewer_limit": sum(size > VIEWER_ROW_BYTES for _, split in splits for size in split.sizes),
    }


def _authors_videos(found: FoundVideos, totals: Totals) -> dict[str, Any]:
    """Where the authors' videos are, what was found there, and how many rows refer to them or hold them."""
    videos, referred = totals.sum("synthetic"), totals.sum("referred")
    return {
        **found.origin,
        "referred": referred,
        "embedded": videos - referred,
        "triplets_without_video": len(totals) - videos,
        "ambiguous": len(found.ambiguous),
        "ambiguous_first": found.ambiguous[:FIRST_SHOWN],
    }


def rows_known(totals: Totals, scores: ScoresLeft) -> dict[str, Any]:
    """What may be known later of rows that stay as they are.

    Returns:
        `scores`: whose they are, of videos that the rows have, and how the table says so, or of others. `prompts`: of
        how many synthetic videos it is known how much of the caption the generator read, and where it was cut.
    """
    here, bound = totals.sum("scored_here"), totals.counter("bindings")
    return {
        "scores": {
            "with_video": here,
            "without_video": totals.sum("scored") - here,
            "video_named_by": {name: bound[name] for name in get_args(Binding)},
            "of_other_videos": scores.of_other_videos,
        },
        "prompts": {"measured": totals.sum("prompts"), "cut": totals.sum("cut")},
    }


def contrast_record(totals: Totals) -> dict[str, Any]:
    """Where contrast captions come from: `contrast`, with what each writer wrote; empty where no row says it.

    Pairs count once, however many synthetic videos they have.
    """
    if not totals.writers:
        return {}
    writers = [
        {
            **dict(zip(("writer", "revision", "prompts"), named, strict=True)),
            "pairs": own.pairs,
            "misalignment": _counted(own.misalignments),
            "checks": [
                dict(zip(("name", "model", "revision", "threshold"), check, strict=True))
                for check in sorted(own.checks, key=lambda key: tuple(map(str, key)))
            ],
        }
        for named, own in sorted(totals.writers.items(), key=lambda item: tuple(map(str, item[0])))
    ]
    return {"contrast": {"pairs": totals.pairs, "writers": writers}}


def _counted(names: Iterable[str] | Counter[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _first_errors(name: str, errors: Sequence[SynvitaError], options: BuildOptions) -> dict[str, Any]:
    records = [without_own_places(error.to_record(), options.real_root) for error in errors[:FIRST_SHOWN]]
    return {name: len(errors), f"{name}_first": records}


def _split_record(
    split: SplitTotals, shards: Sequence[Shard], files: Mapping[str, Artefact]
) -> dict[str, Any]:
    written = [(shard, files[shard.name]) for shard in shards]
    return {
        "rows": len(split),
        "bytes": sum(file.size for _, file in written),
        "misalignment": _counted(split.misalignments),
        "shards": [
            {"file": shard.name, "rows": shard.rows, "bytes": file.size, "sha256": file.sha256}
            for shard, file in written
        ],
    }


def _generators(totals: Totals) -> dict[str, Any]:
    return {
        name: {
            "videos": own.videos,
            "revisions": sorted(own.revisions),
            "configs": sorted(own.configs),
        }
        for name, own in sorted(totals.generators().items())
    }


def _scorers(counts: Counter[tuple[str, str | None, str | None]]) -> list[dict[str, Any]]:
    return [
        {"model": model, "revision": revision, "method": method, "rows": counts[model, revision, method]}
        for model, revision, method in sorted(counts, key=lambda scorer: tuple(map(str, scorer)))
    ]


# --- the files of the folder -----------------------------------------------------------------------


def read_report(out: Path) -> dict[str, Any]:
    """The configs of `OUT/build.json`, by name; none where there is no such file yet."""
    path = out / REPORT
    if not path.is_file():
        return {}
    with parsing(
        "not a build report",
        file=path,
        expected="the build.json that `synvita build` writes",
        fix="Name another --out, or remove the file to build all configs again",
    ):
        configs: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))["configs"]
        for record in configs.values():
            for split in record["splits"].values():
                _ = [(os.fspath(s["file"]), s["bytes"] + s["rows"], s["sha256"]) for s in split["shards"]]
        return configs


def finished_record(out: Path, config: str, key: str) -> dict[str, Any] | None:
    """The config's entry in `build.json` if it was built from the same inputs and its files are whole."""
    record: dict[str, Any] = read_report(out).get(config) or {}
    if record.get("key") != key or not (out / CARD).is_file():
        return None
    written = (out / REPORT).stat().st_mtime_ns
    for shard in (shard for split in record["splits"].values() for shard in split["shards"]):
        path = out / config / shard["file"]
        if not path.is_file() or path.stat().st_size != shard["bytes"]:
            return None
        # Reading gigabytes to learn that nothing happened is for files that somebody touched since.
        if path.stat().st_mtime_ns > written and sha256_file(path) != shard["sha256"]:
            return None
    return record


def check_place(out: Path, config: str, *, make: bool = True) -> None:
    """Refuse an `out` whose files are not a dataset's: what a build puts in place replaces whole folders.

    Args:
        out: dataset folder.
        config: of it.
        make: the work folder too, which shows that `out` can be written; False leaves no trace.

    Raises:
        SynvitaError: `out` is not a folder or cannot be written; `out/config` holds anything but shards; the
            card or the report is somebody else's.
    """
    if out.exists() and not out.is_dir():
        raise SynvitaError("--out is not a folder", file=out, fix="Name another --out")
    if make:
        try:
            (out / ".work").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SynvitaError("--out cannot be written", file=out, found=error.strerror) from error
    elif not os.access(next(each for each in (out, *out.absolute().parents) if each.is_dir()), os.W_OK):
        raise SynvitaError("--out cannot be written", file=out, found="no permission")
    if (out / ".work").exists() and (out / ".work").stat().st_dev != out.stat().st_dev:
        raise SynvitaError(
            "the work folder is on another device than the dataset, so that nothing could be moved from one to the other",
            file=out / ".work",
            fix="Remove the link; to work on a faster disk, name an --out on it and copy the dataset afterwards",
        )
    for name in (config, "figures", CARD, REPORT, QUARANTINE):
        if (link := out / name).is_symlink():
            raise SynvitaError(
                "what a build writes is a link, and would be replaced or written elsewhere",
                file=link,
                found=f"a link to {link.readlink()}",
                fix="Remove the link, or name the folder that it leads to with --out",
            )
    place = out / config
    foreign = [] if not place.exists() else [place] if not place.is_dir() else sorted(place.iterdir())
    foreign = [path for path in foreign if path.is_dir() or not _SHARD_NAME.fullmatch(path.name)]
    if foreign:
        raise SynvitaError(
            "the folder of the config holds files that are not shards, and would be replaced",
            file=place,
            found=", ".join(path.name for path in foreign[:3]) + (", …" if len(foreign) > 3 else ""),
            expected="no such folder, or one that `synvita build` wrote",
            fix="Name another --out or another --config",
        )
    card = out / CARD
    if not read_report(out) and card.is_file() and CARD_MARK not in card.read_text(errors="replace"):
        raise SynvitaError(
            "the folder holds a README.md that is not a dataset card, and would be replaced",
            file=card,
            fix="Name another --out, or move the file",
        )


def put_in_place(
    options: BuildOptions,
    record: Mapping[str, Any],
    quarantine: Iterable[Mapping[str, Any]],
    files: Mapping[str, Artefact],
    beside: Beside,
) -> dict[str, Any] | None:
    """Make `files` the Parquet files of the config's folder, and renew card, report, quarantine and figure.

    Args:
        options: name folder and config.
        record: the config's entry of `build.json`.
        quarantine: the rows left out.
        files: shard name -> finished file somewhere in `OUT/.work`; it is linked, or copied where
            the file system has no hard links.
        beside: who draws the figure.

    Returns:
        The config's entry as it was written; None when `files` are no longer there, because another build of equal
        inputs has put them in place and tidied up.
    """
    out, config, work = options.out, options.config, options.work
    with _turn(work):
        check_place(out, config)
        if not all(file.path.is_file() for file in files.values()):
            return None
        # Everything that takes time or can fail comes before readers see a change.
        fresh = work / f"fresh-{token_hex(4)}"
        (fresh / config).mkdir(parents=True)
        for name, file in files.items():
            try:
                os.link(file.path, fresh / config / name)
            except OSError:
                shutil.copyfile(file.path, fresh / config / name)
        figures = beside.draw(fresh)
        left_out = _merged_quarantine(out, config, quarantine, options.real_root)
        report = _report(out, config, record, fresh)
        card = _card(out, report)
        # The report goes last: with it the build is finished, and nobody looks at the other files again.
        for suffix in SUFFIXES:
            figure = out / "figures" / f"{figure_name(config)}{suffix}"
            if not figures:
                figure.unlink(missing_ok=True)
                continue
            figure.parent.mkdir(exist_ok=True)
            (fresh / figure.name).replace(figure)
        write_atomic(out / QUARANTINE, left_out)
        exchange_folder(fresh / config, out / config)
        written = _write_report(out, config, report, card)
        _tidy(work, done=next(iter(files.values())).path)
    return written


def clear_leftovers(options: BuildOptions, shards: Path) -> None:
    """Remove what a build left that was killed after its report: there is nothing to build, so nobody else would.

    Args:
        options: name the folder.
        shards: folder of the store that the config's files came from.
    """
    if Store(options.work / TURNS).has_leftovers():
        with _turn(options.work):
            _tidy(options.work, done=shards)


def renew_record(options: BuildOptions, known: Mapping[str, Any]) -> dict[str, Any]:
    """Say in report and card of a config that is up to date what is known by now of scores and prompts.

    Rows are the same whether a score table names the videos or not, so their files stay.
    """
    with _turn(options.work):
        record = read_report(options.out)[options.config]
        report = _report(options.out, options.config, {**record, **known}, options.out)
        return _write_report(options.out, options.config, report, _card(options.out, report))


def _report(out: Path, config: str, record: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """`build.json` with one config added or replaced, whose folder is in `root`."""
    configs = dict(sorted({**read_report(out), config: dict(record)}.items()))
    compared = _compared(dict.fromkeys(configs, out) | {config: root}, configs)
    version = CONTRAST_VERSION if any("contrast" in each for each in compared.values()) else SCHEMA_VERSION
    return {"schema_version": version, "synvita_data": __version__, "configs": compared}


def _write_report(out: Path, config: str, report: Mapping[str, Any], card: str) -> dict[str, Any]:
    """Put card and `build.json` in place; returns the config's entry.

    `build.json` names the files that count, so it goes last: a build killed before that finds its key missing, and puts
    everything in place again from the store.
    """
    write_atomic(out / CARD, card)
    write_atomic(out / REPORT, dump_json(report))
    written: dict[str, Any] = report["configs"][config]
    return written


def _card(out: Path, report: Mapping[str, Any]) -> str:
    """The card of all configs; those of earlier builds are as `build.json` has them, which somebody may have changed."""
    with parsing(
        "a config's entry has another form",
        file=out / REPORT,
        expected="the build.json that `synvita build` writes",
        fix="Name another --out, or remove the file to build all configs again",
    ):
        return render_card(report)


def _compared(places: Mapping[str, Path], configs: Mapping[str, Any]) -> dict[str, Any]:
    """The records with `equal_scores` of each config: other config -> rows that have that one's scores too.

    One video has one score, so scores that two generators share are those of another one's videos.

    Args:
        places: config -> where its folder is.
        configs: config -> its record.
    """
    if len(configs) == 1:  # it has none to be compared with
        return {config: {**record, "equal_scores": {}} for config, record in configs.items()}
    known = {}
    for config, record in configs.items():
        try:
            built = local_config(places[config], config, sorted(record["splits"]))
            known[config] = scores_by_pair(built, config)
        except (SchemaError, OSError):
            continue  # another config, of another version or damaged: not this build's business
    compared = dict(configs)
    for config, own in known.items():
        shared = {other: shared_scores(own, theirs) for other, theirs in known.items() if other != config}
        compared[config] = {**configs[config], "equal_scores": {name: n for name, n in shared.items() if n}}
    return compared


def dump_json(value: Any) -> str:
    """The text of `build.json`."""
    return json_text(value, indent=1, sort_keys=True) + "\n"


def _merged_quarantine(
    out: Path, config: str, records: Iterable[Mapping[str, Any]], real_root: Path | None
) -> str:
    """`OUT/quarantine.jsonl` with the lines of one config replaced."""
    path = out / QUARANTINE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = sorted(line for line in lines if _config_of(line) not in (config, None))
    added = [json_text({"config": config, **without_own_places(record, real_root)}) for record in records]
    return "".join(f"{line}\n" for line in kept + added)


def _config_of(line: str) -> str | None:
    """Whose quarantine line it is; None of one that a kill or a full disk left half-written."""
    try:
        return str(parse_json(line)["config"])
    except (ValueError, KeyError, TypeError):
        return None


def _tidy(work: Path, done: Path) -> None:
    """Remove what this build no longer needs, and what builds that never came back left behind."""
    yesterday = time.time() - ABANDONED_AFTER
    for folder in (work / "shards").glob("*"):
        if done.is_relative_to(folder) or folder.stat().st_mtime < yesterday:
            shutil.rmtree(folder, ignore_errors=True)
    # Only who has the turn makes these.
    for leftover in (*work.glob("fresh-*"), *work.glob("old-*")):
        shutil.rmtree(leftover, ignore_errors=True)
    for folder in (work.parent, work.parent / "figures"):
        remove_temporaries(folder)


@contextmanager
def _turn(work: Path) -> Iterator[None]:
    """Whoever has it alone changes the dataset folder."""
    with Store(work / TURNS) as store, store.turn("finish"):
        yield
