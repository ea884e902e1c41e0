"""The dataset card, made from the build report alone: nothing in it is typed by hand.

`render_card(report)` gives the whole README.md: the YAML that `load_dataset` and the Hub read
(configs, features, splits) and the text people read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synvita_data.dataset.inspection import figure_name
from synvita_data.hub.card import code, code_line, front_matter, markdown, table
from synvita_data.schema import DEFAULT_CONFIG, MISALIGNMENTS, SPLITS, features

from .catalog import GENERATORS, SOURCES
from .notes import prompt_notes, score_notes

ALL_CONFIG = "all"
# Words that every card of ours holds: what a build may replace.
CARD_MARK = "Built with `synvita-data`"
VIEWER_ROW_BYTES = 2_000_000

_CITATION = """```bibtex
@inproceedings{zanella2025synvita,
  title     = {Can Text-to-Video Generation help Video-Language Alignment?},
  author    = {Zanella, Luca and Mancini, Massimiliano and Menapace, Willi and Tulyakov, Sergey and Wang, Yiming and Ricci, Elisa},
  booktitle = {CVPR},
  year      = {2025}
}
@inproceedings{bansal2024videocon,
  title     = {VideoCon: Robust Video-Language Alignment via Contrast Captions},
  author    = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year      = {2024}
}
```"""


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
        report: `{"configs": {name: record}}` as `builders.build` writes it.
        repo, version: names used in the example; the example with the local folder needs none.
        default: the default config; None for `default_config`'s choice.
    """
    configs = report["configs"]
    default = default or default_config(configs)
    sections = [
        _introduction(configs),
        _loading(configs, repo, default, version),
        _contents(configs),
        *(
            _figure(name, record)
            for name, record in sorted(configs.items())
            if record["coverage"]["vqascores"][0]
        ),
        _columns(),
        _origin(configs),
        _limits(configs),
        "## Citation\n\n" + _CITATION,
    ]
    return f"{front_matter(_metadata(configs, default))}\n" + "\n\n".join(sections) + "\n"


def _metadata(configs: Mapping[str, Any], default: str) -> dict[str, Any]:
    rows = sum(record["rows"] for record in configs.values())
    entries = []
    for name, record in sorted(configs.items()):
        entry: dict[str, Any] = {"config_name": name}
        if name == default:
            entry["default"] = True
        entry["data_files"] = [
            {"split": split, "path": f"{name}/{split}-*.parquet"} for split in _splits(record)
        ]
        entries.append(entry)
    if len(configs) > 1:
        marked = {"default": True} if default == ALL_CONFIG else {}
        entries.append({"config_name": ALL_CONFIG, **marked, "data_files": _union_files(configs)})
    infos = [_dataset_info(name, record["splits"]) for name, record in sorted(configs.items())]
    if len(configs) > 1:
        infos.append(_dataset_info(ALL_CONFIG, _union_splits(configs)))
    return {
        "language": ["en"],
        "license": "other",
        "license_name": "see-the-sources-and-generators-below",
        "license_link": "README.md",
        "pretty_name": "SynViTA triplets",
        "task_categories": ["video-text-to-text", "video-classification"],
        "size_categories": [_size_category(rows)],
        "tags": ["video", "video-language-alignment", "synthetic", "contrast-captions", "synvita"],
        "configs": entries,
        "dataset_info": infos,
    }


def _dataset_info(name: str, splits: Mapping[str, Any]) -> dict[str, Any]:
    size = sum(split["bytes"] for split in splits.values())
    return {
        "config_name": name,
        "features": features()._to_yaml_list(),
        "splits": [
            {"name": split, "num_bytes": record["bytes"], "num_examples": record["rows"]}
            for split, record in _ordered(splits)
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _union_files(configs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "path": [f"{n}/{split}-*.parquet" for n, r in sorted(configs.items()) if split in r["splits"]],
        }
        for split, _ in _ordered(_union_splits(configs))
    ]


def _union_splits(configs: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    union: dict[str, dict[str, int]] = {}
    for record in configs.values():
        for split, part in record["splits"].items():
            total = union.setdefault(split, {"rows": 0, "bytes": 0})
            total["rows"] += part["rows"]
            total["bytes"] += part["bytes"]
    return union


def _ordered(splits: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(
        splits.items(), key=lambda item: (SPLITS.index(item[0]) if item[0] in SPLITS else 9, item[0])
    )


def _splits(record: Mapping[str, Any]) -> list[str]:
    return [split for split, _ in _ordered(record["splits"])]


def _size_category(rows: int) -> str:
    for limit, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M")):
        if rows < limit:
            return name
    return "n>1M"


# --- the text --------------------------------------------------------------------------------------


def _introduction(configs: Mapping[str, Any]) -> str:
    videos = sum(record["coverage"]["synthetic_video"][0] for record in configs.values())
    return (
        "# SynViTA triplets\n\n"
        "Each row is a triplet for video-language alignment: a **real video** (referred to by id) with its "
        "`caption`, a **contrast caption** (`neg_caption`) that changes one thing, and a **synthetic video** "
        "generated from the contrast caption, with the scores of VQA models that say how far the synthetic "
        "video shows its caption, the sample `weight` that follows, and the parts the two captions share.\n\n"
        f"{sum(r['rows'] for r in configs.values()):,} rows in {len(configs)} config"
        f"{'s' if len(configs) > 1 else ''}, {videos:,} synthetic videos. "
        "Built with `synvita-data`; `build.json` beside this card "
        "holds every figure below, `quarantine.jsonl` every row that was left out and why."
    )


def _loading(configs: Mapping[str, Any], repo: str, default: str, version: str) -> str:
    names = [code_line(name) for name in sorted(configs)] + ([ALL_CONFIG] if len(configs) > 1 else [])
    repo, default, version = code_line(repo), code_line(default), code_line(version)
    split = _splits(configs[default if default in configs else min(configs)])[0]
    others = [name for name in names if name != default]
    more = f'\nother = load_dataset("{repo}", "{others[0]}")  # also: {", ".join(others)}' if others else ""
    return (
        "## Load\n\n```python\nfrom datasets import load_dataset\n\n"
        f'dataset = load_dataset("{repo}", revision="{version}")  # config {default}{more}\n'
        f'row = dataset["{code_line(split)}"][0]\nrow["synthetic_video"]["bytes"]  # an mp4 file, or None\n```\n\n'
        "Videos come undecoded, so nothing but `datasets` is needed. With `pip install synvita-data`, "
        "`load_triplets(name, real_root=…)` also finds the real videos you have."
    )


def _contents(configs: Mapping[str, Any]) -> str:
    parts = ["## What is in it"]
    for name, record in sorted(configs.items()):
        splits = _splits(record)
        kinds = [
            k
            for k in (*MISALIGNMENTS, "unknown")
            if any(record["splits"][s]["misalignment"].get(k) for s in splits)
        ]
        lines = [
            [kind, *(f"{record['splits'][s]['misalignment'].get(kind, 0):,}" for s in splits)]
            for kind in kinds
        ]
        lines.append(["**all**", *(f"**{record['splits'][s]['rows']:,}**" for s in splits)])
        coverage = table(
            ["", "rows", "of"],
            [[text, *(f"{count:,}" for count in counts)] for text, counts in _coverage(record)],
        )
        dropped = record["triplets"]
        parts.append(
            f"### Config {code(name)}\n\n{table(['misalignment', *map(markdown, splits)], lines)}\n\n{coverage}\n\n"
            f"{dropped['read']:,} triplets were read, {dropped['duplicates']:,} exact duplicates dropped, "
            f"{record['quarantined']:,} rows quarantined. Weighting: {code(record['options']['weighting'])}"
            f"{_mean_weight(record)}. Masks: {code(record['options']['granularity'])} level{_word_rules(record)}."
            + "".join(f"\n\n**Scores:** {markdown(note)}." for note in score_notes(record))
            + "".join(f"\n\n**Prompts:** {markdown(note)}." for note in prompt_notes(record))
        )
    return "\n\n".join(parts)


_COVERAGE = {
    "synthetic_video": "with a synthetic video",
    "vqascores": "with VQAScores, of whose videos was not recorded",
    "weight_above_zero": "with a weight above 0",
    "real_video_found": "whose real video was found when this was built",
    "real_video_embedded": "that embed the real video",
    "nle": "with an explanation (`nle`)",
}


def _coverage(record: Mapping[str, Any]) -> list[tuple[str, Sequence[int]]]:
    """The lines of the table; a score counts as one of the row's video only where the row has a video."""
    lines: list[tuple[str, Sequence[int]]] = []
    scores = record.get("scores")
    for key, text in _COVERAGE.items():
        if key != "vqascores" or scores is None:
            lines.append((text, record["coverage"][key]))
            continue
        rows = record["coverage"][key][1]
        lines.append(("with a synthetic video and VQAScores", (scores["with_video"], rows)))
        if scores["without_video"]:
            lines.append(("with VQAScores of a video that is not here", (scores["without_video"], rows)))
    return lines


def _word_rules(record: Mapping[str, Any]) -> str:
    """Which libraries cut the words of captions that need more than spaces between them."""
    rules = [
        f"{count:,} rows by {' and '.join(map(code, name.split('+')[1:]))}"
        for name, count in record.get("granularities", {}).items()
        if "+" in name
    ]
    return f", the words of {', of '.join(rules)}" if rules else ""


def _mean_weight(record: Mapping[str, Any]) -> str:
    return "" if record["mean_weight"] is None else f", mean weight {record['mean_weight']:.4f}"


def _figure(name: str, record: Mapping[str, Any]) -> str:
    scores = record.get("scores") or {"with_video": record["coverage"]["vqascores"][0], "without_video": 0}
    of = "on the synthetic video"
    if scores["without_video"]:
        of = f"on the videos that were scored ({scores['with_video']:,} rows here have a synthetic video)"
    return (
        f"![Mean VQAScore difference per misalignment, config {markdown(name)}](figures/{figure_name(name)}.png)\n\n"
        f"Config {code(name)}: distribution of the mean VQAScore of the contrast caption minus that of the real "
        f"caption {of}. Negative means are red: the synthetic videos of that kind show the "
        "real caption rather than their own."
    )


def _columns() -> str:
    return """## Columns

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


def _origin(configs: Mapping[str, Any]) -> str:
    sources = sorted({name for record in configs.values() for name in record["sources"]})
    source_rows = [
        [f"[{SOURCES[n].title}]({SOURCES[n].url})" if SOURCES[n].url else SOURCES[n].title, SOURCES[n].terms]
        if n in SOURCES
        else [markdown(n), "unknown to the builder: check before you use or share it"]
        for n in sources
    ]
    generator_rows = []
    for record in configs.values():
        for name, used in sorted(record["generators"].items()):
            known = GENERATORS.get(name)
            title = (
                markdown(name)
                if known is None
                else f"[{known.title}]({known.url})"
                if known.url
                else known.title
            )
            revisions = ", ".join(map(markdown, used["revisions"])) or "not recorded"
            settings = "; ".join(map(code, used["configs"])) or (
                f"{known.settings} (usual)" if known else "not recorded"
            )
            generator_rows.append(
                [title, f"{used['videos']:,}", revisions, settings, known.licence if known else "unknown"]
            )
    scorer_rows = sorted(
        {
            tuple(markdown(scorer[key] or "not recorded") for key in ("model", "revision", "method"))
            for record in configs.values()
            for scorer in record["scorers"]
        }
    )
    parts = [
        "## Where it comes from",
        "Real videos are never redistributed: rows hold ids, captions and time ranges.",
    ]
    parts.append(table(["source of real videos and captions", "terms"], source_rows))
    if generator_rows:
        parts.append(table(["generator", "videos", "revision", "settings", "licence"], generator_rows))
    if scorer_rows:
        parts.append(table(["VQA model", "revision", "method"], scorer_rows))
    return "\n\n".join(parts)


def _limits(configs: Mapping[str, Any]) -> str:
    over = sum(record["rows_over_viewer_limit"] for record in configs.values())
    largest = max((record["largest_row_bytes"] for record in configs.values()), default=0)
    note = (
        f"{over:,} rows embed more than 2 MB (the largest {largest / 1e6:.1f} MB): the Hub's viewer may not show "
        "them; `load_dataset` is not affected."
        if over
        else f"Every row is under the viewer's 2 MB (the largest {largest / 1e6:.2f} MB)."
    )
    return (
        "## Limits\n\n"
        f"- {note}\n"
        "- Weights trust VQA models that look at single frames: they see objects and colours better than event order.\n"
        "- `load_dataset` downloads the videos; to read annotations only, pass `columns=[…]` with `streaming=True`."
    )
