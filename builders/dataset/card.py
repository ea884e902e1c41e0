"""The dataset card, made from the build report alone: nothing in it is typed by hand.

`render_card(report)` gives the whole README.md: the YAML that `load_dataset` and the Hub read
(configs, features, splits) and the text people read.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from synvita_data.captions.text_only import TextOnly
from synvita_data.dataset.inspection import figure_name
from synvita_data.hub.card import (
    SYNVITA,
    citation,
    code,
    code_line,
    config_entry,
    link,
    make_card,
    markdown,
    table,
)
from synvita_data.schema import DEFAULT_CONFIG, MISALIGNMENTS, SPLITS, card_features
from synvita_data.tasks import get_task

from .notes import authors_notes, contrast_notes, prompt_notes, score_notes

ALL_CONFIG = "all"
# Words that every card of ours holds: what a build may replace.
CARD_MARK = "Built with `synvita-data`"
VIEWER_ROW_BYTES = 2_000_000


class Source(NamedTuple):
    """A dataset of real videos. Its videos are referred to by id and never redistributed."""

    title: str
    url: str
    terms: str


class Generator(NamedTuple):
    """A text-to-video model whose videos a config holds."""

    title: str
    url: str
    licence: str
    settings: str


# What is known of sources and generators. One that is not listed is reported as unknown, never guessed.
SOURCES = {
    "msr-vtt": Source(
        "MSR-VTT",
        "https://www.microsoft.com/en-us/research/publication/msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
        "research use; videos belong to their YouTube uploaders",
    ),
    "vatex": Source(
        "VATEX (Kinetics-600 clips)",
        "https://eric-xw.github.io/vatex-website/",
        "captions CC BY 4.0; videos belong to their YouTube uploaders",
    ),
    "tempo": Source(
        "TEMPO (DiDeMo clips)",
        "https://github.com/LisaAnne/TemporalLanguageRelease",
        "captions as released by the authors; videos belong to their Flickr uploaders",
    ),
    "activitynet": Source(
        "ActivityNet (VideoCon-Human)",
        "http://activity-net.org/",
        "videos belong to their YouTube uploaders",
    ),
    "shapes": Source("Shapes world (rendered by this package)", "", "Apache-2.0"),
}
GENERATORS = {
    "cogvideox": Generator(
        "CogVideoX",
        "https://huggingface.co/zai-org/CogVideoX-2b",
        "2b: Apache-2.0; 5b: CogVideoX licence",
        "720×480, 49 frames, 8 fps",
    ),
    "lavie": Generator(
        "LaVie", "https://github.com/Vchitect/LaVie", "Apache-2.0", "512×320, 32 frames, 8 fps"
    ),
    "videocrafter2": Generator(
        "VideoCrafter2",
        "https://github.com/AILab-CVC/VideoCrafter",
        "Apache-2.0 (code); research use (weights)",
        "512×320, 32 frames, 8 fps",
    ),
    "shapes": Generator("Shapes world", "", "Apache-2.0", "rendered by this package from a seed"),
}


def default_config(names: Iterable[str]) -> str:
    """The config that stays default: `cogvideox` where it exists, otherwise the first by name."""
    ordered = sorted(names)
    return DEFAULT_CONFIG if DEFAULT_CONFIG in ordered else ordered[0]


def render_card(
    report: Mapping[str, Any],
    repo: str = "OWNER/NAME",
    *,
    default: str | None = None,
    version: str = "v0.1.0",
) -> str:
    """README.md of a built dataset from its `build.json`.

    Args:
        report: `{"configs": {name: record}}` as `build_dataset` writes it.
        repo, version: names used in the example; the example with the local folder needs none.
        default: the default config; None for `default_config`'s choice.
    """
    configs = dict(sorted(report["configs"].items()))
    default = default or default_config(configs)
    scored = {name: record for name, record in configs.items() if record["coverage"]["vqascores"][0]}
    return make_card(
        _metadata(configs, default),
        [
            *_introduction(configs),
            *_loading(configs, repo, default, version),
            "## What is in it",
            *(part for name, record in configs.items() for part in _contents(name, record)),
            *(part for name, record in scored.items() for part in _figure(name, record)),
            _COLUMNS + (_CONTRAST if any("contrast" in record for record in configs.values()) else ""),
            *_origin(configs),
            *_limits(configs.values()),
            citation(SYNVITA, get_task("videocon-llm").citation),
        ],
    )


# --- the YAML --------------------------------------------------------------------------------------


def _metadata(configs: Mapping[str, Any], default: str) -> dict[str, Any]:
    rows = sum(record["rows"] for record in configs.values())
    # Config -> split -> its counts, and the pattern of its files.
    splits = {name: _ordered(record["splits"]) for name, record in configs.items()}
    files: dict[str, Any] = {
        name: {split: f"{name}/{split}-*.parquet" for split in parts} for name, parts in splits.items()
    }
    if len(configs) > 1:
        union: dict[str, dict[str, int]] = {}
        patterns: dict[str, list[str]] = {}
        for name, parts in splits.items():
            for split, part in parts.items():
                total = union.setdefault(split, {"rows": 0, "bytes": 0})
                total["rows"] += part["rows"]
                total["bytes"] += part["bytes"]
                patterns.setdefault(split, []).append(files[name][split])
        splits[ALL_CONFIG], files[ALL_CONFIG] = _ordered(union), _ordered(patterns)
    return {
        "language": ["en"],
        "license": "other",
        "license_name": "see-the-sources-and-generators-below",
        "license_link": "README.md",
        "pretty_name": "SynViTA triplets",
        "task_categories": ["video-text-to-text", "video-classification"],
        "size_categories": [_size_category(rows)],
        "tags": ["video", "video-language-alignment", "synthetic", "contrast-captions", "synvita"],
        "configs": [config_entry(name, parts, default=name == default) for name, parts in files.items()],
        "dataset_info": [
            _dataset_info(name, parts, contrast=_says_contrast(configs, name))
            for name, parts in splits.items()
        ],
    }


def _says_contrast(configs: Mapping[str, Any], name: str) -> bool:
    """Whether a config has the column `contrast`; the one of all configs has it where any has, null in the others' rows."""
    chosen = configs.values() if name == ALL_CONFIG else [configs[name]]
    return any("contrast" in record for record in chosen)


def _dataset_info(name: str, splits: Mapping[str, Any], *, contrast: bool) -> dict[str, Any]:
    size = sum(part["bytes"] for part in splits.values())
    return {
        "config_name": name,
        "features": card_features(contrast=contrast),
        "splits": [
            {"name": split, "num_bytes": part["bytes"], "num_examples": part["rows"]}
            for split, part in splits.items()
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _ordered(splits: Mapping[str, Any]) -> dict[str, Any]:
    """By split, the known ones in their usual order."""
    known = {split: place for place, split in enumerate(SPLITS)}
    return dict(sorted(splits.items(), key=lambda item: (known.get(item[0], len(known)), item[0])))


def _size_category(rows: int) -> str:
    for limit, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M")):
        if rows < limit:
            return name
    return "n>1M"


# --- the text --------------------------------------------------------------------------------------


def _introduction(configs: Mapping[str, Any]) -> list[str]:
    videos = sum(record["coverage"]["synthetic_video"][0] for record in configs.values())
    return [
        "# SynViTA triplets",
        "Each row is a triplet for video-language alignment: a **real video** (referred to by id) with its "
        "`caption`, a **contrast caption** (`neg_caption`) that changes one thing, and a **synthetic video** "
        "generated from the contrast caption, with the scores of VQA models that say how far the synthetic "
        "video shows its caption, the sample `weight` that follows, and the parts the two captions share.",
        f"{sum(r['rows'] for r in configs.values()):,} rows in {len(configs)} config"
        f"{'s' if len(configs) > 1 else ''}, {videos:,} synthetic videos. "
        f"{CARD_MARK}; `build.json` beside this card "
        "holds every figure below, `quarantine.jsonl` every row that was left out and why.",
    ]


def _loading(configs: Mapping[str, Any], repo: str, default: str, version: str) -> list[str]:
    names = [code_line(name) for name in configs] + ([ALL_CONFIG] if len(configs) > 1 else [])
    repo, default, version = code_line(repo), code_line(default), code_line(version)
    split = next(iter(_ordered(configs[default if default in configs else min(configs)]["splits"])))
    others = [name for name in names if name != default]
    if any(_refers(record) for record in configs.values()):
        return _loading_references(repo, default, version, split)
    more = f'\nother = load_dataset("{repo}", "{others[0]}")  # also: {", ".join(others)}' if others else ""
    return [
        "## Load",
        "```python\nfrom datasets import load_dataset\n\n"
        f'dataset = load_dataset("{repo}", revision="{version}")  # config {default}{more}\n'
        f'row = dataset["{code_line(split)}"][0]\nrow["synthetic_video"]["bytes"]  # an mp4 file, or None\n```',
        "Videos come undecoded, so nothing but `datasets` is needed. With the Python package `synvita-data`, "
        "`load_triplets(name, real_root=…)` also finds the real videos you have.",
    ]


def _refers(record: Mapping[str, Any]) -> bool:
    return bool(record.get("authors_videos", {}).get("referred"))


def _loading_references(repo: str, default: str, version: str, split: str) -> list[str]:
    """How rows are read that refer to their synthetic videos."""
    return [
        "## Load",
        "```python\nfrom synvita_data import load_triplets  # of the package synvita-data\n\n"
        f'dataset = load_triplets("{repo}", "{default}", revision="{version}", split="{code_line(split)}")\n'
        'row = dataset[0]\nrow["synthetic_video"]["path"]  # an mp4 file, fetched when it is asked for\n```',
        "Rows **refer** to their synthetic videos and do not hold them: `load_triplets` fetches each from its "
        "authors' repository, or finds it below `synthetic_root=DIR`. Plain `load_dataset` shows the references. "
        "`load_triplets(…, real_root=…)` also finds the real videos you have.",
    ]


def _contents(name: str, record: Mapping[str, Any]) -> list[str]:
    splits = _ordered(record["splits"])
    kinds = {kind: [part["misalignment"].get(kind, 0) for part in splits.values()] for kind in _KINDS}
    lines = [[kind, *(f"{count:,}" for count in counts)] for kind, counts in kinds.items() if any(counts)]
    lines.append(["**all**", *(f"**{part['rows']:,}**" for part in splits.values())])
    read, options, mean = record["triplets"], record["options"], record["mean_weight"]
    mean = "" if mean is None else f", mean weight {mean:.4f}"
    return [
        f"### Config {code(name)}",
        table(["misalignment", *map(markdown, splits)], lines),
        table(["", "rows", "of"], ([text, f"{count:,}", f"{of:,}"] for text, count, of in _coverage(record))),
        f"{_read(record)} were read, {read['duplicates']:,} exact duplicates dropped, "
        f"{record['quarantined']:,} rows quarantined. Weighting: {code(options['weighting'])}{mean}. "
        f"Masks: {code(options['granularity'])} level{_word_rules(record)}.",
        *(f"**Contrast captions:** {markdown(note)}." for note in contrast_notes(record)),
        *_text_only(record),
        *(f"**Scores:** {markdown(note)}." for note in score_notes(record)),
        *(f"**Prompts:** {markdown(note)}." for note in prompt_notes(record)),
        *(f"**Authors' videos:** {markdown(note)}." for note in authors_notes(record)),
    ]


_KINDS = (*MISALIGNMENTS, "unknown")
_COVERAGE = {
    "synthetic_video": "with a synthetic video",
    "vqascores": "with VQAScores, of whose videos was not recorded",
    "weight_above_zero": "with a weight above 0",
    "real_video_found": "whose real video was found when this was built",
    "real_video_embedded": "that embed the real video",
    "nle": "with an explanation (`nle`)",
}


def _coverage(record: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """The lines of the table; a score counts as one of the row's video only where the row has a video."""
    lines: list[tuple[str, int, int]] = []
    scores = record.get("scores")
    for key, text in _COVERAGE.items():
        count, rows = record["coverage"][key]
        if key != "vqascores" or scores is None:
            lines.append((text, count, rows))
            continue
        lines.append(("with a synthetic video and VQAScores", scores["with_video"], rows))
        if scores["without_video"]:
            lines.append(("with VQAScores of a video that is not here", scores["without_video"], rows))
    return lines


def _text_only(record: Mapping[str, Any]) -> Iterator[str]:
    """How far the captions of a config can be told from its contrast captions without the video."""
    found = TextOnly.from_record(record.get("text_only"))
    if found is None:
        return  # built before it was worked out
    yield f"**Text-only AUC:** {markdown(found.text())}." + (
        ""
        if found.overall.auc is None
        else " So far do words and bigrams alone, cross-validated by video, tell captions from contrast captions; "
        "50 is not at all."
    )


def _read(record: Mapping[str, Any]) -> str:
    rows, of_csv = record["triplets"]["read"], record.get("training_csv")
    if of_csv is None:
        return f"{rows:,} triplets"
    return f"{rows:,} rows of a training CSV, which make {of_csv['triplets']:,} triplets,"


def _word_rules(record: Mapping[str, Any]) -> str:
    """Which libraries cut the words of captions that need more than spaces between them."""
    rules = [
        f"{count:,} rows by {' and '.join(map(code, name.split('+')[1:]))}"
        for name, count in record.get("granularities", {}).items()
        if "+" in name
    ]
    return f", the words of {', of '.join(rules)}" if rules else ""


def _figure(name: str, record: Mapping[str, Any]) -> list[str]:
    scores = record.get("scores") or {"without_video": 0}
    of = "on the synthetic video"
    if scores["without_video"]:
        of = f"on the videos that were scored ({scores['with_video']:,} rows here have a synthetic video)"
    return [
        f"![Mean VQAScore difference per misalignment, config {markdown(name)}](figures/{figure_name(name)}.png)",
        f"Config {code(name)}: distribution of the mean VQAScore of the contrast caption minus that of the real "
        f"caption {of}. Negative means are red: the synthetic videos of that kind show the "
        "real caption rather than their own.",
    ]


_COLUMNS = """## Columns

| column | what it is |
|---|---|
| `id`, `pair_id` | stable ids of the row (pair, generator, sample) and of the pair of captions |
| `source`, `video_id`, `videopath`, `youtube_key`, `video_url` | which real video |
| `start`, `end` | seconds in the source video that the captions are about, null for the whole file |
| `caption`, `neg_caption`, `nle` | caption, contrast caption, explanation of the misalignment |
| `misalignment`, `hard` | what the contrast caption changes; VideoCon-Human's hard flag |
| `real_video`, `real_available` | reference to the real video; true where the row embeds it |
| `synthetic_video`, `generation` | mp4 bytes; generator, revision, sample, seed, settings, SHA-256 |
| `vqascores` | per VQA model, the score of each caption on the synthetic video that was scored, in [0, 1] |
| `weight` | how far the synthetic video is trusted, in [0, 1]; null without scores |
| `shared` | character spans `[start, end)` that both captions share; the rest is hidden in masked texts |"""

_CONTRAST = """
| `contrast` | how the contrast caption was written: writer, revision, digest of its prompts, seed, phrases, checks; null where unknown |"""


def _origin(configs: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where it comes from"
    yield "Real videos are never redistributed: rows hold ids, captions and time ranges."
    sources = []
    for name in sorted({name for record in configs.values() for name in record["sources"]}):
        if source := SOURCES.get(name):
            sources.append([link(source.title, source.url), source.terms])
        else:
            sources.append([markdown(name), "unknown to the builder: check before you use or share it"])
    yield table(["source of real videos and captions", "terms"], sources)
    generators = []
    for name, used in (each for record in configs.values() for each in sorted(record["generators"].items())):
        known = GENERATORS.get(name)
        generators.append(
            [
                link(known.title, known.url) if known else markdown(name),
                f"{used['videos']:,}",
                ", ".join(map(markdown, used["revisions"])) or "not recorded",
                "; ".join(map(code, used["configs"]))
                or (f"{known.settings} (usual)" if known else "not recorded"),
                known.licence if known else "unknown",
            ]
        )
    for name, record in sorted(configs.items()):
        if (videos := record.get("authors_videos")) is not None:
            yield _authors(name, videos)
    if generators:
        yield table(["generator", "videos", "revision", "settings", "licence"], generators)
    scorers = {
        tuple(markdown(scorer[key] or "not recorded") for key in ("model", "revision", "method"))
        for record in configs.values()
        for scorer in record["scorers"]
    }
    if scorers:
        yield table(["VQA model", "revision", "method"], sorted(scorers))


def _authors(name: str, videos: Mapping[str, Any]) -> str:
    """Whose the videos of a config are, where they lie and what is known of their licence."""
    if repo := videos.get("repository"):
        url = f"https://huggingface.co/datasets/{repo}/tree/{videos['commit']}"
        place = f"the dataset repository {link(markdown(repo), url)} at commit {code(videos['commit'])}"
    else:
        place = f"a folder {code(videos['folder'])} of whoever built this"
    held = "held here" if videos["embedded"] else "referred to, not held here"
    return (
        f"The synthetic videos of config {code(name)} are those of {place}, {held}. How they are laid out there and "
        f"under which licence is their authors' affair; the licence found there: "
        f"{markdown(videos['licence']) if videos['licence'] else '**none stated**'}."
    )


def _limits(records: Collection[Mapping[str, Any]]) -> list[str]:
    over = sum(record["rows_over_viewer_limit"] for record in records)
    largest = max((record["largest_row_bytes"] for record in records), default=0)
    note = (
        f"{over:,} rows embed more than 2 MB (the largest {largest / 1e6:.1f} MB): the Hub's viewer may not show "
        "them; `load_dataset` is not affected."
        if over
        else f"Every row is under the viewer's 2 MB (the largest {largest / 1e6:.2f} MB)."
    )
    return [
        "## Limits",
        f"- {note}\n"
        "- Weights trust VQA models that look at single frames: they see objects and colours better than event order.\n"
        "- `load_dataset` downloads the videos; to read annotations only, pass `columns=[…]` with `streaming=True`.",
    ]
