"""Everything of this package that a GPU can prove or disprove, as one script for a short loan of one.

    python benchmarks/gpu.py                        # all sections, on CUDA
    python benchmarks/gpu.py --sections numbers,scoring,memory --out gpu-results
    python benchmarks/gpu.py --small                # tiny models on whatever is there, for function only

Sections, in order of worth, so that a run that is cut still pays:

    numbers     the same log-odds and gradients on CPU and GPU, in every dtype, way and attention kernel
    scoring     7B models, many captions of a video: share of the FLOP bound, memory, where the time goes
    memory      scoring and VQAScore halve under a memory cap and go on with the same numbers; training says what to set
    training    7B with LoRA: seconds a triplet packed and plain, largest batch, attention kernels, torch.compile
    vqascore    CLIP-FlanT5-XL and LLaVA-1.5-7B: both captions of a triplet against pair by pair
    generation  CogVideoX-2B: what a job costs around the pipeline; offload and tiling

Each section runs in a process of its own with a time limit, so that a crash, a hang or a poisoned CUDA context ends
that section only; what it had measured by then is kept. Models have random weights: nothing is downloaded. Without
CUDA and without --small it prints "skipped" and exits 0. torch and transformers are enough but for `generation`,
which also wants diffusers and av, and says so where they are missing.

Prints one line a figure, `name: value unit (goal …) ok|short`, and at the end a table; writes `gpu.json` with the card
and the versions, and the profiles, into --out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from measure import argument_parser

# Section -> seconds it may take on a GPU: what it took on an H100, with room.
SECTIONS = {
    "numbers": 150,
    "scoring": 140,
    "memory": 90,
    "training": 170,
    "vqascore": 80,
    "generation": 150,
}


def run_section(name: str, *, small: bool, limit: float, out: Path) -> dict[str, Any]:
    """One section in its own process; what became of it, with its figures."""
    records = out / f"{name}.jsonl"
    records.unlink(missing_ok=True)
    command = [
        sys.executable,
        __file__,
        "--section",
        name,
        "--out",
        str(out),
        *(["--small"] if small else []),
    ]
    began = time.monotonic()
    try:
        status = subprocess.run(command, timeout=limit).returncode
        ended = "done" if status == 0 else f"failed with exit status {status}"
    except subprocess.TimeoutExpired:  # `run` has killed it
        ended = f"cut off after {limit:.0f} s"
    lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
    figures = [json.loads(line) for line in lines if line.endswith("}")]
    return {
        "section": name,
        "ended": ended,
        "seconds": round(time.monotonic() - began, 1),
        "figures": figures,
    }


def machine() -> dict[str, Any]:
    """The card and the versions, which every figure depends on."""
    import torch
    import transformers

    found = {"torch": torch.__version__, "transformers": transformers.__version__, "device": "cpu"}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {
            "device": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "cuda": str(torch.version.cuda),
        }
    return found


def table(results: list[dict[str, Any]]) -> str:
    """All figures with their goals, section by section."""
    rows = []
    for result in results:
        rows.append(f"\n{result['section']} ({result['ended']}, {result['seconds']} s)")
        for each in result["figures"]:
            goal = ""
            if each["goal"] is not None:
                sign = "<=" if each["at_most"] else ">="
                goal = f"{sign} {each['goal']:.3g}  {'ok' if each['ok'] else 'SHORT'}"
            value = each["value"] if isinstance(each["value"], str) else f"{each['value']:.4g}"
            rows.append(f"  {each['name']:<86} {value:>12} {each['unit']:<10} {goal}")
    return "\n".join(rows)


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which of them, with commas between")
    parser.add_argument(
        "--limit", type=float, help="seconds for the whole run; each section has its own limit too"
    )
    parser.add_argument("--out", type=Path, help="folder for gpu.json and profiles; default: a temporary one")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)  # one, in this process
    options = parser.parse_args()
    if options.section:
        from gpu_parts.figures import Figures

        part = import_module(f"gpu_parts.{options.section}")
        part.run(Figures(options.section, options.out, small=options.small))
        return 0
    chosen = options.sections.split(",")
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"unknown section {unknown[0]}; there are {', '.join(SECTIONS)}")
    about = machine()
    if about["device"] == "cpu" and not options.small:
        print("skipped: no CUDA device here (--small runs it on a CPU, for function only)")
        return 0
    out = options.out or Path(tempfile.mkdtemp(prefix="synvita-gpu-"))
    out.mkdir(parents=True, exist_ok=True)
    print(f"{about}; results in {out}", flush=True)
    began, results = time.monotonic(), []
    for name in chosen:
        left = float("inf") if options.limit is None else options.limit - (time.monotonic() - began)
        if left < 15:
            results.append({"section": name, "ended": "no time was left", "seconds": 0, "figures": []})
            continue
        # A small run has no GPU to be quick on.
        limit = min(left, 1800 if options.small else SECTIONS[name])
        print(f"== {name}", flush=True)
        results.append(run_section(name, small=options.small, limit=limit, out=out))
        whole = {"machine": about, "small": options.small, "sections": results}
        (out / "gpu.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(table(results), flush=True)
    # A part that failed has written so in place of a number; a figure short of its goal is no failure.
    failed = [
        each
        for result in results
        for each in result["figures"]
        if each["ok"] is False and isinstance(each["value"], str)
    ]
    return 0 if not failed and all(result["ended"] == "done" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
