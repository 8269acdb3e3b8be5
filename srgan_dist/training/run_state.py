"""Where a run stands, and the directory that it is kept in."""

import logging
from dataclasses import asdict, dataclass
from typing import Any

from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import TrainConfig, read_run_config
from srgan_dist.utils.serialization import to_dict

log = logging.getLogger("srgan_dist")

_WORST = (float("-inf"), 0)


@dataclass
class RunState:
    """The numbers that a run goes on from, beside its networks and the means that nobody has read yet."""

    crops_per_step: int
    """Of all processes together."""

    step: int = 0
    """Optimizer steps of the generator, over both phases."""

    phase: int = -1
    """Index of the phase; -1 before the first one."""

    phase_start: int = 0
    """The step that the phase began at."""

    phase_over: bool = True
    """Whether the phase has come to its end."""

    best: tuple[float, int] = _WORST
    """PSNR-Y and step of the phase's best validation."""

    stale: int = 0
    """How many validations ago that was."""

    def start_phase(self, number: int) -> None:
        """Begin a phase at the present step; what was best before does not count in it."""
        self.phase, self.phase_start, self.phase_over = number, self.step, False
        self.best, self.stale = _WORST, 0

    def add_validation(self, psnr_y: float, patience: int) -> bool:
        """Take note of a validation; return whether it is the phase's best.

        Args:
            patience: end the phase after this many validations without a better one; 0 never does.
        """
        improved = psnr_y > self.best[0]
        self.best = (psnr_y, self.step) if improved else self.best
        self.stale = 0 if improved else self.stale + 1
        if self.stale and self.stale == patience:
            log.info("step %d  no better for %d validations: the phase ends early", self.step, self.stale)
            self.phase_over = True
        return improved

    def share(self, step: int, rank: int, size: int) -> tuple[int, int]:
        """Return how many of a step's crops are those of process `rank` of `size`, and the index of the first."""
        mine = self.crops_per_step // size
        return mine, step * self.crops_per_step + rank * mine

    def state_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any], parts: int) -> None:
        """Restore what `state_dict` gave; other keys of the dictionary are left alone.

        Args:
            parts: among how many processes and accumulated batches a step's crops are divided now.

        Raises:
            ValueError: the run's crops per step cannot be divided among so many.
        """
        crops = state["crops_per_step"]
        if crops % parts:
            raise ValueError(
                f"the run takes {crops} crops per step, which {parts} parts (processes x accumulate) cannot share "
                f"evenly; resume it with a number of processes that divides {crops}"
            )
        for name in asdict(self):
            setattr(self, name, state[name])
        self.best = (state["best"][0], state["best"][1])


def open_run_dir(config: TrainConfig, writes: bool) -> RunDir:
    """Open the run's directory, new or to be resumed; only processes with `writes` change it.

    Raises:
        ValueError: it holds a run with another configuration.
    """
    before = read_run_config(config.run_dir)
    return RunDir(config.run_dir, to_dict(config), to_dict(before) if before else None, writes)
