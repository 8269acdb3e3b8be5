"""Steps without a finite gradient: counted, reported, and too many in a row end the run."""

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
    """Watches the counts of skipped steps that all processes agree on.

    `config.max_skips` in a row end the run.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, feed: Feed) -> None:
        self._config, self._accelerator, self._feed = config, accelerator, feed
        self.counts = Skips(accelerator.device)

    def check(self, decision: Decision, state: RunState) -> None:
        """Warn of new skips.

        Raises:
            AgreedError: too many steps in a row had no finite gradient; the same on every process.
        """
        if decision.new_skips and self._accelerator.is_main_process:
            log.warning("step %d  %d step(s) skipped: gradients not finite", state.step, decision.new_skips)
        if decision.skipped_in_row >= self._config.max_skips:
            raise AgreedError(
                f"{decision.skipped_in_row} steps in a row had no finite gradient, up to step {state.step}; the last "
                f"good checkpoint is in {self._config.run_dir / 'checkpoints'}. {self._describe_bad_crops(state)} Look "
                f"at these images, or resume with the same command and {self._gentler(state)}"
            )

    def _gentler(self, state: RunState) -> str:
        """Flags with which the run may go on from its checkpoint."""
        name = PHASES[state.phase]
        rate = (self._config.pretrain, self._config.adversarial)[state.phase].schedule.learning_rate / 2
        norm = self._config.clip_norm / 2 if self._config.clip_norm else 1
        return f"--{name}.schedule.learning-rate {rate:g} or --clip-norm {norm:g}"

    def _describe_bad_crops(self, state: RunState) -> str:
        """Which crops the last bad step of each process was made of."""
        a, step = self._accelerator, self.counts.read()[2]
        mine, first = state.share(step or 0, a.process_index, a.num_processes)
        found = AcceleratorGroup(a).gather([] if step is None else [self._feed.describe(first, mine)])
        return " ".join(found) or "The losses were finite everywhere; only gradients overflowed."
