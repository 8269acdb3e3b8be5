"""Learning rate schedules as pure functions of the step, without state to save."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MilestoneSchedule:
    """A constant learning rate, multiplied by `factor` at each milestone. The papers' schedule."""

    learning_rate: float = 1e-4
    """Learning rate at the start of the phase."""

    milestones: tuple[int, ...] = ()
    """Steps of the phase at which the learning rate is multiplied by `factor`."""

    factor: float = 0.1
    """Multiplier at each milestone."""

    def at(self, step: int, steps: int) -> float:
        """Return the learning rate of step `step` (from 0) of a phase of `steps` steps."""
        return self.learning_rate * self.factor ** sum(step >= m for m in self.milestones)


@dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """Cosine decay from `learning_rate` to zero after a linear warmup. Not in the papers; for short runs."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    warmup: int = 20
    """Steps of linear warmup from zero."""

    def at(self, step: int, steps: int) -> float:
        """Return the learning rate of step `step` (from 0) of a phase of `steps` steps."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


Schedule = MilestoneSchedule | CosineSchedule
