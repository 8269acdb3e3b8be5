"""Reports steps that were skipped because of a non-finite gradient, and fails the run after too many in a row."""

import logging

from accelerate import Accelerator

from srgan_dist.data.loading.feed import Feed
from srgan_dist.distributed.accelerator import AcceleratorGroup
from srgan_dist.distributed.coordination import Decision, Skips
from srgan_dist.distributed.group import AgreedError
from srgan_dist.runs.changes import PHASES
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.run_state import RunState

log = logging.getLogger("srgan_dist")


class SkippedSteps:
    """The counters of skipped steps, and what to do about them.

    Skipping `config.max_skips` steps in a row ends the run.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, feed: Feed) -> None:
        self._config, self._accelerator, self._feed = config, accelerator, feed
        self.counts = Skips(accelerator.device)

    def check(self, decision: Decision, state: RunState) -> None:
        """Log a warning about new skips.

        Raises:
            AgreedError: on every process, if too many steps in a row were skipped.
        """
        if decision.new_skips and self._accelerator.is_main_process:
            log.warning("step %d  %d step(s) skipped because of non-finite gradients", state.step, decision.new_skips)
        if decision.skipped_in_row >= self._config.max_skips:
            raise AgreedError(
                f"{decision.skipped_in_row} steps in a row had non-finite gradients, up to step {state.step}; the last "
                f"checkpoint is in {self._config.run_dir / 'checkpoints'}. {self._describe_bad_crops(state)} Check "
                f"these images, or resume with the same command and {self._suggest_flags(state)}"
            )

    def _suggest_flags(self, state: RunState) -> str:
        """Return flags that make the next steps smaller; the run may be resumed with them."""
        name = PHASES[state.phase]
        rate = (self._config.pretrain, self._config.adversarial)[state.phase].schedule.learning_rate / 2
        norm = self._config.clip_norm / 2 if self._config.clip_norm else 1
        return f"--{name}.schedule.learning-rate {rate:g} or --clip-norm {norm:g}"

    def _describe_bad_crops(self, state: RunState) -> str:
        """Name the crops of the last step with a non-finite loss on each process. Collective."""
        a, step = self._accelerator, self.counts.read()[2]
        local_crops, first = state.share(step or 0, a.process_index, a.num_processes)
        found = AcceleratorGroup(a).gather([] if step is None else [self._feed.describe(first, local_crops)])
        return " ".join(found) or "The losses were finite on every process; only gradients overflowed."
