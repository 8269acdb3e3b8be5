"""Means of the step metrics, accumulated on the device and read once per logging window."""

import time
from collections import defaultdict
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.steps import StepMetrics
from srgan_dist.utils.memory import peak_memory
from srgan_dist.utils.renamed import current_name

Names = tuple[str, ...]


class Meter:
    """Accumulates metrics without synchronizing with the device; `read` reduces them over all processes once.

    Skipped steps count only in the metric `skipped`, so that one NaN does not spoil the means of a window.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._rows: dict[Names, Tensor] = {}
        """For each set of metric names: their sums, the number of steps that were not skipped, and of all steps."""
        self._started, self._steps, self._waited = time.perf_counter(), 0, 0.0
        self.flops_per_crop = 0.0
        """Operations per crop in the current phase; 0 or NaN if not known."""

    def add(self, terms: StepMetrics, skipped: Tensor, waited: float) -> None:
        """Add one step without synchronizing with the device.

        Args:
            terms: the metrics of the step.
            skipped: whether the step was skipped; bool scalar on the device.
            waited: seconds that the step waited for data.
        """
        names, one = tuple(terms), torch.ones((), device=skipped.device)
        values = torch.where(skipped, 0.0, torch.stack([*(t.float() for t in terms.values()), one]))
        row = torch.cat([values, one[None]])
        self._rows[names] = self._rows[names] + row if names in self._rows else row
        self._steps += 1
        self._waited += waited

    def exclude(self, seconds: float) -> None:
        """Leave a time in which no step ran, such as a validation, out of the pace of the current window."""
        self._started += seconds

    def read(self, crops: int) -> dict[str, float]:
        """Return the means over steps and processes since the last read, with speed and memory; reset. Collective.

        Args:
            crops: crops per step over all processes.
        """
        packed: Tensor = self._accelerator.reduce(torch.cat(list(self._rows.values())), "sum")  # pyright: ignore
        means = _means(self._rows, packed.tolist())
        seconds = time.perf_counter() - self._started
        pace = self._steps * crops / seconds
        performance = {"crops_per_s": pace, "data_wait": self._waited / seconds} | self._usage(pace)
        self._rows = {}
        self._started, self._steps, self._waited = time.perf_counter(), 0, 0.0
        return means | performance

    def _usage(self, pace: float) -> dict[str, float]:
        """Return peak memory and, if known, the TFLOP/s of all processes and their share of the hardware's peak."""
        device = self._accelerator.device
        used = {"memory_gib": peak_memory(device) / 2**30}
        if self.flops_per_crop > 0:  # not 0 or NaN
            used["tflops"] = self.flops_per_crop * pace / 1e12
            peak = peak_tflops(device)
            used |= {"of_peak": used["tflops"] / (peak * self._accelerator.num_processes)} if peak else {}
        return used

    def state_dict(self) -> dict[str, Any]:
        """Return the unread sums of all processes. Collective."""
        rows = {names: self._accelerator.gather(row[None]) for names, row in self._rows.items()}
        return {"names": [list(names) for names in rows], "rows": list(rows.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; if the number of processes has changed, rank 0 takes over all sums."""
        rank, size, device = (getattr(self._accelerator, n) for n in ("process_index", "num_processes", "device"))
        for names, rows in zip(state["names"], state["rows"], strict=True):
            names = [current_name(n) for n in names]
            local = rows[rank] if len(rows) == size else rows.sum(0) if rank == 0 else torch.zeros_like(rows[0])
            self._rows[tuple(names)] = local.to(device)


def _means(rows: dict[Names, Tensor], numbers: list[float]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    start = 0
    for names in rows:
        *values, valid_steps, all_steps = numbers[start : start + len(names) + 2]
        start += len(names) + 2
        for name, value in zip(names, values, strict=True):
            sums[name] += value
            counts[name] += valid_steps
        sums["skipped"] += all_steps - valid_steps
        counts["skipped"] += all_steps
    return {name: sums[name] / counts[name] for name in sums if counts[name]}
