"""What the sections share: how a figure is written down, timed and bounded."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from measure import against, met
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()


class Figures:
    """A section's figures, printed and appended to a file one by one, so that a section that is cut keeps them.

    Attributes:
        small: whether this is a run for function only. device: where the models go.
    """

    def __init__(self, section: str, out: Path, *, small: bool) -> None:
        self.section, self.out, self.small = section, out, small
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._file = out / f"{section}.jsonl"
        self._began = time.monotonic()

    def add(
        self,
        name: str,
        value: float | str,
        unit: str = "",
        goal: float | None = None,
        *,
        at_most: bool = False,
    ) -> None:
        """One figure; without a goal one to look at."""
        number = float("nan") if isinstance(value, str) else float(value)  # which meets no goal
        ok = None if goal is None else met(number, goal, at_most=at_most)
        record = {"name": name, "value": value, "unit": unit, "goal": goal, "at_most": at_most, "ok": ok}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        shown = value if isinstance(value, str) else f"{value:.4g}"
        print(
            f"[{time.monotonic() - self._began:5.1f} s] {name}: {shown} {unit}{against(number, goal, at_most=at_most)}",
            flush=True,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A part of a section whose failure is written down and does not end the rest."""
        try:
            yield
        except Exception as error:
            first = (str(error) or type(error).__name__).splitlines()[0]
            self.add(name, f"failed: {type(error).__name__}: {first[:150]}", "", 0.0)
            if self.small:  # where time is no matter, the whole story
                import traceback

                traceback.print_exc()
        finally:
            free_memory()

    def save(self, name: str, text: str) -> None:
        """A file beside the figures."""
        (self.out / name).write_text(text, encoding="utf-8")

    def profile(self, name: str, work: Callable[[], object], rows: int = 14) -> None:
        """Where one call of `work` spends its time, as a table in a file and its head on the terminal."""
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if self.device == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        synchronise()
        with torch.profiler.profile(activities=kinds) as found:
            work()
            synchronise()
        averages = found.key_averages()
        order = "self_device_time_total" if self.device == "cuda" else "self_cpu_time_total"
        lines = averages.table(sort_by=order, row_limit=60, max_name_column_width=80)
        self.save(f"profile-{name}.txt", lines)
        spent = sorted(averages, key=lambda each: -float(getattr(each, order)))[:rows]
        total = sum(float(getattr(each, order)) for each in averages) or 1.0
        print(f"profile of {name}: {total / 1e3:.1f} ms of {order}")
        for each in spent:
            share = float(getattr(each, order)) / total
            print(
                f"    {100 * share:5.1f}%  {float(getattr(each, order)) / 1e3:8.2f} ms  {each.count:5d}x  {each.key[:90]}"
            )


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free_memory() -> None:
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def seconds(work: Callable[[], object], rounds: int = 5, warm_up: int = 1) -> float:
    """Median seconds of a call, until the device is done; by the host's clock, so launches and waits count."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(rounds):
        synchronise()
        began = time.perf_counter()
        work()
        synchronise()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def peak_gib(work: Callable[[], object]) -> float:
    """GiB in use at most during a call, the loaded model included; 0 without CUDA."""
    if not torch.cuda.is_available():
        work()
        return 0.0
    free_memory()
    torch.cuda.reset_peak_memory_stats()
    work()
    synchronise()
    return torch.cuda.max_memory_allocated() / 2**30


def dense_rate(figures: Figures) -> float:
    """FLOP/s of a large bf16 product of random matrices on this device, which bounds are computed with."""
    side = 8192 if figures.device == "cuda" else 512
    a, b = (torch.randn(side, side, device=figures.device, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * side**3 / seconds(lambda: a @ b, rounds=10, warm_up=3)
    figures.add("dense bf16 product (the rate of all bounds)", rate / 1e12, "TFLOP/s")
    return rate


def flop_of(work: Callable[[], object]) -> float:
    """Floating point operations of the products and convolutions of a call, counted from their shapes."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
