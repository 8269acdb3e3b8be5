"""Steps without a finite gradient: counted, reported, and too many in a row end the run."""

import logging
from pathlib import Path

from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed
from srgan_dist.distributed.accelerator import Ranks
from srgan_dist.distributed.coordination import Decision, Skips
from srgan_dist.training.run_state import RunState

log = logging.getLogger("srgan_dist")


class SkippedSteps:
    """Watches the counts of skipped steps that all processes agree on.

    Args:
        limit: so many in a row end the run.
        checkpoints: where the run goes on from.
    """

    def __init__(self, accelerator: Accelerator, feed: Feed, limit: int, checkpoints: Path) -> None:
        self._accelerator, self._feed, self._limit, self._checkpoints = accelerator, feed, limit, checkpoints
        self.counts = Skips(accelerator.device)

    def check(self, decision: Decision, state: RunState) -> None:
        """Warn of new skips.

        Raises:
            ValueError: too many steps in a row had no finite gradient; the same on every process.
        """
        if decision.new_skips:
            log.warning("step %d  %d step(s) skipped: gradients not finite", state.step, decision.new_skips)
        if decision.skipped_in_row >= self._limit:
            raise ValueError(
                f"{decision.skipped_in_row} steps in a row had no finite gradient, up to step {state.step}; the last "
                f"good checkpoint is in {self._checkpoints}. {self._describe_bad_crops(state)} Lower the learning "
                "rate, set --clip-norm, or look at these pictures."
            )

    def _describe_bad_crops(self, state: RunState) -> str:
        """Which crops the last bad step of each process was made of."""
        a, step = self._accelerator, self.counts.read()[2]
        mine, first = state.share(step or 0, a.process_index, a.num_processes)
        found = Ranks(a).gather([] if step is None else [self._feed.describe(first, mine)])
        return " ".join(found) or "The losses were finite everywhere; only gradients overflowed."
