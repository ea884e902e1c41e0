"""The benchmarks, as data: where each comes from, what it measures, how large it should be, what the paper reports.

To add a benchmark of a form that exists, add it to `_BENCHMARKS`. `synvita_data.annotations` reads the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .errors import SchemaError, choose
from .hub.known import pinned

if TYPE_CHECKING:
    from .video import FramePolicy

# --- the paper's Table 3: AUC, mAP and accuracy in percent, to the digits that are printed -----------

COLUMNS = (
    "videocon-llm",
    "videocon-human",
    "videocon-human-hard",
    "ssv2-temporal",
    "ssv2-events",
    "atp-hard",
)
SOURCE = "Zanella et al., Can Text-to-Video Generation help Video-Language Alignment?, CVPR 2025, Table 3"


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One number of the paper.

    Attributes:
        model: as the paper names it.
        task: as `Task.name`.
        value: percent.
        digits: decimals that are printed (the paper copies older results with one).
        reproduced: marked * in the paper: run again by its authors rather than copied.
    """

    model: str
    task: str
    value: float
    digits: int
    reproduced: bool


# Model, marked *, then the six columns as printed; None where the paper has no number.
_TABLE: tuple[tuple[str, bool, tuple[str | None, ...]], ...] = (
    ("VideoCLIP", False, ("53.2", "47.3", "47.5", "9.8", "6.4", "23.4")),
    ("ImageBind (video-text)", False, ("57.1", "65.2", "63.0", "10.5", "5.5", "25.4")),
    ("TACT", False, (None, None, None, None, "7.8", "27.6")),
    ("VFC", False, (None, None, None, None, None, "31.4")),
    ("End-to-End VNLI", False, ("67.0", "72.4", "65.0", "14.6", "10.4", "39.0")),
    ("mPLUG-Owl 7B", False, ("57.24", "67.02", "64.39", "11.08", "6.75", "37.96")),
    ("Video-LLaVA", False, ("62.98", "70.37", "65.99", "11.64", "7.11", "38.56")),
    ("VideoCon (mPLUG-Owl 7B)", True, ("88.39", "77.16", "74.76", "13.00", "10.37", "35.46")),
    ("VideoCon (Video-LLaVA)", False, ("85.86", "80.09", "75.74", "19.77", "10.01", "38.76")),
    ("SynViTA (mPLUG-Owl 7B)", False, ("86.45", "77.48", "74.54", "17.32", "12.54", "37.31")),
    ("SynViTA (Video-LLaVA)", False, ("85.43", "80.86", "76.86", "20.10", "11.21", "39.88")),
)

MODELS = tuple(model for model, _, _ in _TABLE)


def published_results(task: str) -> tuple[PublishedResult, ...]:
    """The paper's numbers for one task, in the paper's order; empty for a task that is not in it."""
    if task not in COLUMNS:
        return ()
    column = COLUMNS.index(task)
    return tuple(
        PublishedResult(
            model, task, float(cells[column] or ""), len((cells[column] or "").partition(".")[2]), marked
        )
        for model, marked, cells in _TABLE
        if cells[column] is not None
    )


# --- what a benchmark is -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """A count that the paper or the released files give; `rounded_to` for "27K"."""

    count: int
    rounded_to: int = 1

    def fits(self, found: int) -> bool:
        return abs(found - self.count) * 2 <= self.rounded_to if self.rounded_to > 1 else found == self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark.

    Attributes:
        name: as in `--task`.
        title, description: for people.
        form: what the rows are, a module of `synvita_data.annotations`: entailment (captions and contrast captions of
            videos), retrieval (rank all videos for each caption) or choice (pick one of five statements).
        source: name of the videos' dataset (`real_videos` finds them by it); None where rows say it.
        files: names under which the annotation files are published, best first.
        hub_path, hub_files, hub_revision: where they lie on the Hub and the pinned commit; None: see
            `hub_note`.
        homepage: where to get them otherwise.
        licence: of the annotations.
        video_licence: of the videos, which are never redistributed.
        citation: BibTeX.
        prompt: the question that is asked, a name in `prompts.PROMPTS`; a model family may put it into the
            chat template it was trained with, and records that.
        frames: how frames are chosen; None: as the model was trained.
        metric: a module of `synvita_data.evaluate_metrics`.
        main_score: its entry that stands in the table.
        column: heading of the task in the paper's Table 3 and on the leaderboard.
        expected: counts of `Annotations.counts()`; a mismatch is reported and is no error.
        split: VideoCon's split to take, None for all.
        only_hard: only rows with `hard` true.
    """

    name: str
    title: str
    description: str
    form: str
    source: str | None
    files: tuple[str, ...]
    homepage: str
    hub_path: str | None
    hub_files: tuple[str, ...] = ()
    hub_revision: str | None
    hub_note: str
    licence: str
    video_licence: str
    citation: str
    prompt: str = "question"
    frames: "FramePolicy | None" = None
    metric: str
    main_score: str
    column: str
    expected: Mapping[str, Expected] = field(default_factory=dict)
    split: str | None = None
    only_hard: bool = False

    @property
    def published(self) -> tuple[PublishedResult, ...]:
        """The paper's rows that have a number for this task, in the paper's order."""
        return published_results(self.name)

    def mismatches(self, counts: Mapping[str, int]) -> tuple[str, ...]:
        """One sentence for each expected count that `counts` does not meet."""
        return tuple(
            f"{name}: found {counts[name]:,}, expected {expected.count:,}"
            + (f" (rounded to {expected.rounded_to:,})" if expected.rounded_to > 1 else "")
            for name, expected in self.expected.items()
            if not expected.fits(counts[name])
        )


# --- the benchmarks ----------------------------------------------------------------------------------

_VIDEOCON_PAPER = """@inproceedings{bansal2024videocon,
  title     = {VideoCon: Robust Video-Language Alignment via Contrast Captions},
  author    = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year      = {2024}
}"""

_SSV2_PAPER = """@inproceedings{goyal2017something,
  title     = {The "Something Something" Video Database for Learning and Evaluating Visual Common Sense},
  author    = {Goyal, Raghav and Ebrahimi Kahou, Samira and Michalski, Vincent and others},
  booktitle = {ICCV},
  year      = {2017}
}"""

_SSV2_TEMPORAL_PAPER = """@inproceedings{sevilla2021only,
  title     = {Only Time Can Tell: Discovering Temporal Data for Temporal Modeling},
  author    = {Sevilla-Lara, Laura and Zha, Shengxin and Yan, Zhicheng and Goswami, Vedanuj and Feiszli, Matt and Torresani, Lorenzo},
  booktitle = {WACV},
  year      = {2021}
}"""

_SSV2_EVENTS_PAPER = """@inproceedings{bagad2023test,
  title     = {Test of Time: Instilling Video-Language Models with a Sense of Time},
  author    = {Bagad, Piyush and Tapaswi, Makarand and Snoek, Cees G. M.},
  booktitle = {CVPR},
  year      = {2023}
}"""

_NEXT_QA_PAPER = """@inproceedings{xiao2021nextqa,
  title     = {NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions},
  author    = {Xiao, Junbin and Shang, Xindi and Yao, Angela and Chua, Tat-Seng},
  booktitle = {CVPR},
  year      = {2021}
}"""

_ATP_PAPER = """@inproceedings{buch2022revisiting,
  title     = {Revisiting the "Video" in Video-Language Understanding},
  author    = {Buch, Shyamal and Eyzaguirre, Cristobal and Gaidon, Adrien and Wu, Jiajun and Fei-Fei, Li and Niebles, Juan Carlos},
  booktitle = {CVPR},
  year      = {2022}
}"""

_VIDEOCON_LLM = Task(
    name="videocon-llm",
    title="VideoCon (LLM)",
    description=(
        "Tell captions from contrast captions (seven misalignments, written by PaLM-2) of videos from MSR-VTT, "
        "VATEX and TEMPO: the test split of VideoCon's entailment data."
    ),
    form="entailment",
    source=None,
    files=("videocon_llm_entailment.csv", "videocon_llm_feedback.csv"),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path="videocon/videocon",
    hub_files=("videocon_llm_entailment.csv",),
    hub_revision=pinned("videocon/videocon"),
    hub_note=(
        "Name the file: its files differ in their columns, so `load_dataset` of the whole repository fails. "
        "Results carry the digest of the rows."
    ),
    licence="MIT (VideoCon's repository on GitHub; its page on the Hub shows none); captions under the terms of MSR-VTT, VATEX (CC BY 4.0) and TEMPO",
    video_licence="YouTube and Flickr uploaders; research use; not redistributed",
    citation=_VIDEOCON_PAPER,
    metric="entailment_auc",
    main_score="auc",
    column="VideoCon (LLM)",
    expected={"texts": Expected(27_000, rounded_to=1_000)},
    split="test",
)
# Contrast captions written by people, for ActivityNet videos.
_VIDEOCON_HUMAN = replace(
    _VIDEOCON_LLM,
    name="videocon-human",
    title="VideoCon (Human)",
    description="Tell captions from contrast captions written by people, for videos of ActivityNet's validation split.",
    source="activitynet",
    files=("videocon_human.csv",),
    hub_files=("videocon_human.csv",),
    licence="MIT (VideoCon's repository on GitHub; its page on the Hub shows none)",
    video_licence="YouTube uploaders; research use; not redistributed",
    column="VideoCon (Human)",
    # Rows of the file, two texts each. A copy of it counts 569 after two were dropped: 570 or 571.
    expected={"groups": Expected(570, rounded_to=10)},
    split=None,
)
# The rows of VideoCon (Human) that need time to be understood.
_VIDEOCON_HUMAN_HARD = replace(
    _VIDEOCON_HUMAN,
    name="videocon-human-hard",
    title="VideoCon (Human-Hard)",
    description="VideoCon (Human), only the pairs marked as temporally challenging (`hard` is true).",
    column="VideoCon (Human-Hard)",
    expected={"groups": Expected(290, rounded_to=10)},
    only_hard=True,
)
# Find the videos of 18 actions that single frames do not tell apart.
_SSV2_TEMPORAL = Task(
    name="ssv2-temporal",
    title="SSv2-Temporal",
    description=(
        "Text-to-video retrieval: for each of 18 action templates rank 216 Something-Something v2 videos, 12 of "
        "which show it. “[something]” is literal."
    ),
    form="retrieval",
    source="ssv2",
    files=("eval_ssv2_temporal.csv",),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path=None,
    hub_revision=None,
    hub_note="Not on the Hub: `datasets/eval_ssv2_temporal.csv` of VideoCon's repository.",
    licence="MIT (VideoCon's repository); action templates under Something-Something v2's licence",
    video_licence="Qualcomm's Something-Something v2 research licence; not redistributed",
    citation="\n\n".join((_VIDEOCON_PAPER, _SSV2_PAPER, _SSV2_TEMPORAL_PAPER)),
    metric="retrieval_map",
    main_score="map",
    column="SSv2-Temporal",
    expected={
        "rows": Expected(3_888),
        "videos": Expected(216),
        "groups": Expected(18),
        "positives": Expected(18 * 12),
    },
)
# Find the videos of 49 actions made of more than one event.
_SSV2_EVENTS = replace(
    _SSV2_TEMPORAL,
    name="ssv2-events",
    title="SSv2-Events",
    description=(
        "Text-to-video retrieval: for each of 49 action templates with several events rank 588 "
        "Something-Something v2 videos, 12 of which show it. “[something]” is literal."
    ),
    files=("eval_ssv2_events.csv",),
    hub_note="Not on the Hub: `datasets/eval_ssv2_events.csv`, as VideoCon's README names it.",
    citation="\n\n".join((_VIDEOCON_PAPER, _SSV2_PAPER, _SSV2_EVENTS_PAPER)),
    column="SSv2-Events",
    expected={
        "rows": Expected(28_812),
        "videos": Expected(588),
        "groups": Expected(49),
        "positives": Expected(49 * 12),
    },
)
# The NExT-QA questions that one frame does not answer, as five statements each.
_ATP_HARD = Task(
    name="atp-hard",
    title="ATP-Hard",
    description=(
        "Video question answering by entailment: of five statements made from the answers of a NExT-QA question "
        "(causal CW, CH; temporal TN, TC, TP) the best-scored one is the answer."
    ),
    form="choice",
    source="next-qa",
    files=("nextqa-atphard-statements.csv", "eval-nextqa-atphard.csv"),
    homepage="https://github.com/Hritikbansal/videocon",
    hub_path=None,
    hub_revision=None,
    hub_note="Not on the Hub: `datasets/nextqa-atphard*.csv` of VideoCon's repository.",
    licence="MIT (VideoCon's and NExT-QA's repositories)",
    video_licence="VidOR's (YFCC-100M) Flickr uploaders; not redistributed",
    citation="\n\n".join((_VIDEOCON_PAPER, _NEXT_QA_PAPER, _ATP_PAPER)),
    metric="multiple_choice_accuracy",
    main_score="accuracy",
    column="ATP-Hard",
    # 1,846 questions; the official script loses two of them and prints an accuracy of 1,844 (docs/tasks.md).
    expected={"groups": Expected(1_846), "rows": Expected(1_846 * 5), "positives": Expected(1_846)},
)

# In the order of the paper's table.
_BENCHMARKS = (_VIDEOCON_LLM, _VIDEOCON_HUMAN, _VIDEOCON_HUMAN_HARD, _SSV2_TEMPORAL, _SSV2_EVENTS, _ATP_HARD)
TASKS: dict[str, Task] = {task.name: task for task in _BENCHMARKS}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        SchemaError: there is none; the message lists all.
    """
    return TASKS[choose(name, TASKS, "task", error=SchemaError)]
