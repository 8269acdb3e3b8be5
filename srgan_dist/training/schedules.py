"""Learning rates as pure functions of the step: nothing to save, nothing to restore."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MilestoneSchedule:
    """Constant, multiplied by `factor` at each milestone. The papers' schedule."""

    learning_rate: float = 1e-4
    """Adam's step size at the start of the phase."""

    milestones: tuple[int, ...] = ()
    """Steps of the phase at which the learning rate falls."""

    factor: float = 0.1
    """What it is multiplied by there."""

    def at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of a phase of `steps`."""
        return self.learning_rate * self.factor ** sum(step >= m for m in self.milestones)


@dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """Half a cosine from `learning_rate` down to zero, after a linear warm-up. Not in the papers; for short runs."""

    learning_rate: float = 1e-3
    """Adam's step size at its highest."""

    warmup: int = 20
    """Steps in which it rises from zero."""

    def at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of a phase of `steps`."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


Schedule = MilestoneSchedule | CosineSchedule
