"""The store's scan before any heavy import, alone and inside `run_job`; and what a claim and its record cost.

    python benchmarks/store_scan.py            # 100,000 keys, 99,990 of them done
    python benchmarks/store_scan.py --small    # 1,000 keys, for function only

The finished stores are written straight in the store's layout (by its own `record_bytes` and names, which
is checked on a sample), because 200,000 commits would take minutes. Scans run in a fresh interpreter;
time is from the import of the store to the list of pending keys, memory the process's peak (VmHWM);
processor time shows how much of a wall time is the machine's other work. For `run_job` the time is from its
import to the opening of the first worker (which in earnest imports torch), and, of a run that finds all done, to its
report.
Small work is measured against writing the same JSON to a temporary name and renaming it: the two
alternate in one run, the best of several counts.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import argument_parser, figure

from synvita_data.jobs import Store
from synvita_data.jobs.records import PREFIXES, Artefact, artefact_suffix, digest_of, record_bytes

SCAN = """
import json, sys, time
keys = [f"row {number}" for number in range(int(sys.argv[2]))]
began, busy = time.perf_counter(), time.process_time()
from synvita_data.jobs import Store
pending = Store(sys.argv[1]).scan(keys, sys.argv[3]).pending
seconds, processor = time.perf_counter() - began, time.process_time() - busy
heavy = sorted(sys.modules.keys() & {"numpy", "pyarrow", "datasets", "torch", "av", "pandas", "transformers"})
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
found = {"pending": pending, "seconds": seconds, "processor": processor, "megabytes": int(peak[0]) / 1024}
print(json.dumps(found | {"heavy": heavy}))
"""
RUN = """
import dataclasses, json, sys, time
from pathlib import Path
began, busy = time.perf_counter(), time.process_time()
from synvita_data.jobs import run_job
from synvita_data.jobs import Store

@dataclasses.dataclass(frozen=True)
class Rows:
    root: Path
    count: int
    title: str = "rows"
    found: dict = dataclasses.field(default_factory=dict)

    def inputs(self):
        return {f"row {n}": {"caption": f"a person does thing {n} and then another thing", "seed": n} for n in range(self.count)}

    def open_worker(self, device):
        self.found.update(measured())
        return self

    def run(self, held):
        for claim, need in held:
            claim.commit({"seed": need["seed"]})
            self.found.setdefault("pending", []).append(claim.key)

    def close(self):
        pass

def measured():
    peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    heavy = sys.modules.keys() & {"numpy", "pyarrow", "datasets", "torch", "av", "pandas", "transformers", "ray"}
    seconds, processor = time.perf_counter() - began, time.process_time() - busy
    return {"seconds": seconds, "processor": processor, "megabytes": int(peak[0]) / 1024, "heavy": sorted(heavy)}

job = Rows(Path(sys.argv[1]), int(sys.argv[2]))
report = run_job(job)
again, ended = dict(job.found), time.perf_counter()
report = run_job(job)
again["nothing to do"] = time.perf_counter() - ended
assert (report.found, report.made) == (job.count, 0)
with Store(job.root) as store:
    for key in again["pending"]:
        assert store.discard(key)
print(json.dumps(again))
"""
CONTENT = b"0123456789" * 10


def fill(root: Path, count: int, missing: set[int], *, with_file: bool) -> None:
    """Write finished results of keys `row 0` … but for `missing`."""
    for prefix in PREFIXES:
        (root / prefix).mkdir(parents=True)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    suffix = artefact_suffix(1, 1, len(CONTENT), sha256, "video.mp4")
    for number in range(count):
        if number in missing:
            continue
        key = f"row {number}"
        digest = digest_of(key)
        stem = root / digest[:2] / digest
        artefacts = []
        if with_file:
            artefacts = [Artefact("video.mp4", Path(f"{stem}.{suffix}"), len(CONTENT), sha256)]
            artefacts[0].path.write_bytes(CONTENT)
        record = Path(f"{stem}.{'files' if with_file else 'done'}.json")
        record.write_bytes(record_bytes(key, {"seed": number, "frames": 49}, artefacts))
    store = Store(root)
    for number in sorted(set(range(0, count, max(1, count // 50))) - missing):
        store.validate(f"row {number}", deep=True)


def scan(root: Path, count: int, check: str | None, missing: set[int], repeats: int) -> dict[str, float]:
    """Least seconds and processor seconds, greatest peak in MB; refuses a wrong answer or a heavy import.

    `check` None: by `run_job`.
    """
    runs = []
    for _ in range(repeats):
        program = [RUN, str(root), str(count)] if check is None else [SCAN, str(root), str(count), check]
        command = [sys.executable, "-c", *program]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        expected = [f"row {number}" for number in sorted(missing)]
        if runs[-1]["pending"] != expected or runs[-1]["heavy"]:
            raise SystemExit(f"wrong scan: {runs[-1]}")
    names = runs[0].keys() - {"pending", "heavy", "megabytes"}
    return {name: min(run[name] for run in runs) for name in names} | {
        "megabytes": max(run["megabytes"] for run in runs)
    }


def store_rate(folder: Path, count: int) -> float:
    """Claims and JSON-only commits a second, the scan included."""
    with Store(folder) as store:
        began = time.perf_counter()
        for claim in store.claims(f"row {number}" for number in range(count)):
            with claim:
                claim.commit({"width": 320, "height": 240, "frames": 49})
        return count / (time.perf_counter() - began)


def bare_rate(folder: Path, count: int) -> float:
    """The same JSON written to a temporary name and renamed, a second."""
    for prefix in PREFIXES:
        (folder / prefix).mkdir(parents=True)
    began = time.perf_counter()
    for number in range(count):
        temporary, final = f"{folder}/{number}.part", f"{folder}/{number % 256:02x}/{number}.json"
        with open(temporary, "wb", buffering=0) as handle:  # noqa: PTH123 - as the store does
            handle.write(json.dumps({"key": number, "width": 320, "height": 240, "frames": 49}).encode())
        os.rename(temporary, final)  # noqa: PTH104
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--folder", type=Path, help="where to work (default: the temporary folder)")
    arguments = parser.parse_args()
    count, commits, repeats = (1000, 300, 1) if arguments.small else (100_000, 5000, 5)
    missing = {count * part // 10 + 7 for part in range(10)}
    work = Path(tempfile.mkdtemp(prefix="store-scan-", dir=arguments.folder))
    try:
        for with_file in (False, True):
            kind = "files" if with_file else "json"
            root = work / kind
            fill(root, count, missing, with_file=with_file)
            for check in ("names", "sizes"):
                found = scan(root, count, check, missing, repeats)
                figure(f"scan {kind} {check}, {count:,} keys", found["seconds"], "s", 5, at_most=True)
                figure(f"scan {kind} {check}, processor time", found["processor"], "s", 5, at_most=True)
                figure(f"scan {kind} {check}, peak memory", found["megabytes"], "MB", 300, at_most=True)
            found = scan(root, count, None, missing, repeats)
            figure(
                f"run_job {kind}, {count:,} keys, to the first worker", found["seconds"], "s", 5, at_most=True
            )
            figure(f"run_job {kind}, processor time", found["processor"], "s", 5, at_most=True)
            figure(f"run_job {kind}, nothing to do", found["nothing to do"], "s", 5, at_most=True)
            figure(f"run_job {kind}, peak memory", found["megabytes"], "MB", 300, at_most=True)
        ours, bare = [], []
        for repeat in range(repeats):
            bare.append(bare_rate(work / f"bare-{repeat}", commits))
            ours.append(store_rate(work / f"store-{repeat}", commits))
        figure("claim and commit, JSON only", max(ours), "keys/s", 2000)
        figure("bare write and rename", max(bare), "files/s")
        figure("claim and commit over bare write and rename", max(ours) / max(bare), "x", 0.2)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
