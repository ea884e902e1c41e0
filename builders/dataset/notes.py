"""Sentences about a config that its card, `synvita build` and `synvita inspect` show, made from its entry of `build.json`."""

from collections.abc import Mapping
from typing import Any

from synvita_data.display import counted


def score_notes(record: Mapping[str, Any]) -> list[str]:
    """Sentences about the scores of a config; none where every score names the very video of its row.

    Args:
        record: the config's entry of `build.json`; those of early versions do not say.
    """
    notes = []
    scores = record.get("scores")
    if scores is not None:
        total = scores["with_video"] + scores["without_video"]
        if scores["without_video"]:
            notes.append(
                f"{scores['without_video']:,} of {total:,} scored rows have no synthetic video here: their scores and "
                "weights are of videos that this dataset does not hold"
            )
        named = scores["video_named_by"]
        if named["nothing"]:
            notes.append(
                f"scores are not bound to a video in {named['nothing']:,} of {scores['with_video']:,} scored rows with "
                "a synthetic video: nothing in the score table says that it is the video that was scored"
            )
        if named["name"]:
            notes.append(
                f"scores name generator and sample but not the video's SHA-256 in {named['name']:,} of "
                f"{scores['with_video']:,} scored rows with a synthetic video"
            )
        if scores["of_other_videos"]:
            notes.append(
                f"the score table has scores of {scores['of_other_videos']:,} other videos of these rows' captions, "
                "which were not used"
            )
    notes += [
        f"{counted(rows, 'rows have')} the same scores as in config {other}, though not the same video: those of one config are "
        "of another one's videos"
        for other, rows in sorted((record.get("equal_scores") or {}).items())
    ]
    return notes


def contrast_notes(record: Mapping[str, Any]) -> list[str]:
    """A sentence a writer of contrast captions: what it is, and how many of each kind it wrote; none where unknown.

    Args:
        record: the config's entry of `build.json`; those of early versions do not say.
    """
    found = record.get("contrast")
    if found is None:
        return []
    notes = []
    for writer in found["writers"]:
        kinds = ", ".join(
            f"{kind} {count:,} ({count / writer['pairs']:.1%})"
            for kind, count in writer["misalignment"].items()
        )
        revision = "" if writer["revision"] is None else f", revision {writer['revision'][:16]}"
        prompts = "" if writer["prompts"] is None else f", prompts {writer['prompts'][:16]}"
        checks = ", ".join(_check(each) for each in writer["checks"])
        notes.append(
            f"{writer['pairs']:,} of {found['pairs']:,} pairs by {writer['writer'] or 'an unnamed writer'}{revision}"
            f"{prompts}: {kinds}{'; checked: ' + checks if checks else ''}"
        )
    unknown = found["pairs"] - sum(writer["pairs"] for writer in found["writers"])
    return notes + ([f"of {unknown:,} pairs it is not recorded who wrote them"] if unknown else [])


def _check(check: Mapping[str, Any]) -> str:
    model = "" if check["model"] is None else f" by {check['model']}"
    return f"{check['name']}{model}" + ("" if check["threshold"] is None else f" at {check['threshold']:g}")


def prompt_notes(record: Mapping[str, Any]) -> list[str]:
    """A sentence about contrast captions that the generator did not read to their end; none if there are none.

    Args:
        record: the config's entry of `build.json`; those of early versions do not say.
    """
    prompts = record.get("prompts") or {"cut": 0}
    if not prompts["cut"]:
        return []
    videos = record["coverage"]["synthetic_video"][0]
    return [
        f"{prompts['cut']:,} of {videos:,} synthetic videos were made from the beginning of their contrast caption only: "
        "the generator's text encoder cuts what is longer, and what follows may not be in the video"
    ]


def referred_note(record: Mapping[str, Any]) -> list[str]:
    """A sentence about synthetic videos that rows refer to; none where rows hold them.

    Args:
        record: the config's entry of `build.json`.
    """
    videos = record.get("authors_videos")
    if videos is None or not videos["referred"]:
        return []
    place = f"{videos['repository']}@{videos['commit'][:10]}" if "repository" in videos else videos["folder"]
    licence = videos["licence"] or "none stated"
    return [f"{videos['referred']:,} are not held here: rows refer to {place} (licence: {licence})"]


def authors_notes(record: Mapping[str, Any]) -> list[str]:
    """Sentences about the authors' videos and their training CSV; none for other datasets.

    Args:
        record: the config's entry of `build.json`.
    """
    notes = []
    if (videos := record.get("authors_videos")) is not None:
        if videos["triplets_without_video"]:
            notes.append(
                f"{videos['triplets_without_video']:,} of {record['rows']:,} rows have no synthetic video"
            )
        if videos["ambiguous"]:
            notes.append(
                f"{counted(videos['ambiguous'], 'videos')} could be of several contrast captions, or be samples of one, and were "
                "not taken (first: "
                + ", ".join(videos["ambiguous_first"][:3])
                + "); give a training CSV with "
                "syn_video, or --order annotations if their numbers count the captions of the triplets file"
            )
        if videos.get("not_opened"):
            notes.append(
                f"{counted(videos['not_opened'], 'videos were')} not fetched, so that nobody has looked whether they decode"
            )
        if others := videos["of_other_generators"]:
            notes.append(f"{counted(others, 'videos')} of other generators were left out")
        if others := videos.get("archives_of_other_generators"):
            notes.append(f"{counted(others, 'archives')} of other generators were not fetched")
    if (read := record.get("training_csv")) is not None:
        counts = {
            "empty_alignment_diff": "triplets have no alignment_diff: their weight is that of 1.0, as in the released code",
            "empty_alignment": "triplets have no alignment: the released code reads 1.0, which no loss uses; here their "
            "VQAScores are unknown",
            "alignment_does_not_fit": "triplets have an alignment and an alignment_diff that add up to no probability: "
            "their VQAScores are unknown, their weight is the difference",
            "unpaired": "real rows name no synthetic video and make no triplet",
            "unused_explanations": "explanations are of no triplet",
        }
        notes += [f"{read[name]:,} {text}" for name, text in counts.items() if read[name]]
    return notes
