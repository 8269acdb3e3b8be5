"""`--profile STEPS`: profile a few training steps."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from srgan_dist.utils.files import atomic_path, write_text

log = logging.getLogger("srgan_dist")

_WAIT, _WARM_UP = 3, 2
"""Steps that are not recorded, because the first ones allocate memory, tune kernels and compile."""
TRACE, OPERATIONS = "trace.json.gz", "operations.txt"


class Profiler:
    """Records training steps with torch's profiler.

    Args:
        steps: Number of steps to record. Nothing is recorded if it is 0.
        folder: Receives `trace.json.gz`, for ui.perfetto.dev, and `operations.txt`, the ten most expensive operations.
        device: The device that the steps run on.
    """

    def __init__(self, steps: int, folder: Path, device: torch.device) -> None:
        self._folder, self._device, self._steps = folder, device, steps
        self._profile = self._start() if steps > 0 else None

    def _start(self) -> Any:
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self._device.type == "cuda")
        plan = schedule(wait=_WAIT, warmup=_WARM_UP, active=self._steps, repeat=1)
        started = profile(activities=activities, schedule=plan, on_trace_ready=self._write)
        started.start()
        return started

    def step(self) -> None:
        """Tell the profiler that a step is complete."""
        if self._profile:
            self._profile.step()

    def close(self) -> None:
        """Stop the profiler, and write what has been recorded if the run ended before all steps were."""
        if self._profile:
            self._profile.stop()
            self._profile = None
            if not (self._folder / TRACE).exists():
                log.warning("--profile: the run ended before step %d; nothing was recorded", _WAIT + _WARM_UP + 1)

    def _write(self, recorded: Any) -> None:
        try:
            self._write_files(recorded)
        except (OSError, RuntimeError) as error:  # such as a full disk, which must not stop training
            log.warning("--profile: %s could not be written (%s)", self._folder, error)

    def _write_files(self, recorded: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        cuda = self._device.type == "cuda"
        order = "self_device_time_total" if cuda else "self_cpu_time_total"
        table = recorded.key_averages().table(sort_by=order, row_limit=10, max_name_column_width=40)
        with atomic_path(self._folder / TRACE, ".gz") as partial:  # torch compresses the trace if the suffix is .gz
            recorded.export_chrome_trace(str(partial))
        write_text(f"The ten most expensive operations of {self._steps} steps.\n{table}", self._folder / OPERATIONS)
        log.info("profiled %d steps: %s and %s", self._steps, self._folder / TRACE, self._folder / OPERATIONS)
