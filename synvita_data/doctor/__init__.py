"""What a command will need, found out before it runs: repositories, bytes, memory, packages, videos; `docs/doctor.md`.

    facts = look_at("LanguageBind/Video-LLaVA-7B-hf")      # one request, no weights, no torch
    needs = evaluation_needs("out/synvita", ["ssv2-temporal"], annotations="annotations", real_root="videos")
    needs.bytes_to_fetch, needs.memory, needs.missing

Each module can be used alone: `repository` (one repository or folder), `machine` (disk, GPUs, packages), `memory`
(an estimate), `inputs` (annotations, videos, output folders), `video_llms` (prompt and frames of a model),
`evaluation` (all of it for `synvita evaluate`). Nothing here imports torch or loads a model.
"""

from .evaluation import evaluation_needs
from .hub import HubQuestions
from .report import Check, Needs
from .repository import NeededFile, RepositoryFacts, look_at

__all__ = [
    "Check",
    "HubQuestions",
    "NeededFile",
    "Needs",
    "RepositoryFacts",
    "evaluation_needs",
    "look_at",
]
