"""The progress of a run, for people: on the terminal and in the log, and for `srgan status` in the run directory."""

import math
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.runs.metric_names import ACCURACY, CROPS_PER_S, DISCRIMINATOR, LOSS
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.flops import relative_step_cost
from srgan_dist.training.run_state import RunState
from srgan_dist.utils.progress import Progress
from srgan_dist.utils.status_line import Number, Status
from srgan_dist.utils.time_left import Plan, TimeLeft

_STATUS_INTERVAL = 60.0
"""Seconds between two updates of the step and the time left in `status.json`."""
_DEFAULT_COST = 2.0
"""Duration of an adversarial step relative to a pretraining step, for networks whose operations cannot be counted."""


class RunProgress:
    """Shows how far a run has come; other processes than the first only count.

    Args:
        config: The configuration, with epochs converted to steps.
        state: The progress of the run, which the trainer updates.
        run_dir: The run directory, whose `status.json` is updated every minute.
        held_out: The images of the final evaluation.
        visible: Whether this process shows anything.
    """

    def __init__(
        self, config: TrainConfig, state: RunState, run_dir: RunDir, held_out: ShardSet | None, visible: bool
    ) -> None:
        self._config, self._state, self._run_dir, self._visible = config, state, run_dir, visible
        self._held_out = held_out
        self._phases = (config.pretrain, config.adversarial)
        self._time_left: TimeLeft | None = None
        self._shown = Progress(Status("", 0, 0), visible=False)
        self._metrics: Mapping[str, float] = {}
        """Of the last logging window."""
        self._epoch: float | None = None
        self._psnr, self._recorded = math.nan, time.monotonic()

    def start_phase(self) -> None:
        """Begin or resume the current phase."""
        state = self._state
        phase = self._phases[state.phase]
        if self._visible:
            self._time_left = self._time_left or TimeLeft(self._plan())
            self._time_left.start_phase(state.phase)
        total = state.phase_start + sum(p.steps for p in self._phases[state.phase :])
        self._shown = Progress(Status(phase.label, state.step, total), self._visible, self._seconds_left)

    def _plan(self) -> Plan:
        config = self._config
        every = {"validation": config.validation.every, "checkpoint": config.checkpoint.every}
        both = config.pretrain.steps and config.adversarial.steps and self._state.phase == 0
        cost = relative_step_cost(config) if both else math.nan
        return Plan(
            [p.steps for p in self._phases],
            every,
            _evaluated_pixels(config, self._held_out),
            _DEFAULT_COST if math.isnan(cost) else cost,
        )

    def advance(self) -> None:
        """Count one step, which `state` includes already."""
        if self._time_left:
            self._time_left.advance()
        self._shown.advance()
        if self._visible and time.monotonic() - self._recorded >= _STATUS_INTERVAL:
            self.record()

    def window(self, metrics: Mapping[str, float], epoch: float | None) -> None:
        """Show the metrics of a logging window, by their public names."""
        if self._time_left:
            self._time_left.synchronized()
        self._metrics, self._epoch = metrics, epoch
        self._shown.show(summary(metrics, self._psnr, epoch))

    def validated(self, psnr_y: float) -> None:
        """Show the PSNR of a validation from now on."""
        self._psnr = psnr_y
        self._shown.show(summary(self._metrics, psnr_y, self._epoch))

    @contextmanager
    def activity(self, kind: str) -> Generator[None]:
        """Show and measure a validation or a checkpoint."""
        with ExitStack() as stack:
            stack.enter_context(self._shown.activity(kind))
            if self._time_left:
                stack.enter_context(self._time_left.activity(kind))
            yield

    def close(self) -> None:
        """Write the last line of a phase."""
        self._shown.close()

    def record(self) -> None:
        """Write the step and the time left to `status.json`."""
        self._recorded = time.monotonic()
        left, phase = self._seconds_left(), self._phases[self._state.phase].label
        with suppress(OSError):  # a full disk, which the next checkpoint reports
            self._run_dir.status("running", self._state.step, phase=phase, seconds_left=left)

    def _seconds_left(self) -> float | None:
        return self._time_left.seconds(self._state.step, self._state.phase_start) if self._time_left else None


def summary(metrics: Mapping[str, float], psnr_y: float, epoch: float | None = None) -> list[Number]:
    """Return the numbers that people watch, as far as there are any, with the least important ones last.

    Args:
        metrics: The metrics of a logging window, by their public names.
        psnr_y: Of the last validation, in dB; NaN before the first one.
        epoch: Number of passes over the images; None if their number is not known.
    """
    shown: list[Number] = []
    if LOSS in metrics:
        loss = f"{metrics[LOSS]:#.3g}"
        shown.append(Number(f"loss {loss}", loss))
    elif DISCRIMINATOR in metrics:  # it is trained alone
        shown.append(Number(f"D loss {metrics[DISCRIMINATOR]:#.3g}", f"D {metrics[DISCRIMINATOR]:#.3g}"))
    if math.isfinite(psnr_y):
        shown.append(Number(f"PSNR {psnr_y:.2f} dB", f"{psnr_y:.2f} dB"))
    if CROPS_PER_S in metrics:
        pace = f"{metrics[CROPS_PER_S]:,.0f}" if metrics[CROPS_PER_S] >= 10 else f"{metrics[CROPS_PER_S]:.2g}"
        shown.append(Number(f"{pace} crops/s", f"{pace}/s"))
    if LOSS in metrics and DISCRIMINATOR in metrics:
        shown.append(Number(f"D loss {metrics[DISCRIMINATOR]:#.3g}", ""))
    if ACCURACY in metrics:
        shown.append(Number(f"D accuracy {metrics[ACCURACY]:.0%}", ""))
    if epoch is not None:
        shown.append(Number(f"epoch {epoch:.4g}", ""))
    return shown


def _evaluated_pixels(config: TrainConfig, held_out: ShardSet | None) -> float:
    """Return how much larger the final evaluation is than one validation: in pixels, and in methods that are scored.

    Three interpolations are scored besides the generators. Scoring takes about as long as upscaling.
    """
    if held_out is None or not config.validation.images:
        return 0.0
    sizes = held_out.lr_sizes * config.scale
    validated = sizes[: config.validation.images].clip(max=config.validation.side).prod(1).sum()
    generators = (config.pretrain.steps > 0) + (config.adversarial.steps > 0)
    return float(sizes.prod(1).sum() / validated) * (generators + 3 / 2)
