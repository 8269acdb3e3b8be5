"""The networks of a run, prepared for this process: built, wrapped, saved and restored together."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from srgan_dist.data.batch import Pair
from srgan_dist.data.rng import hashed
from srgan_dist.distributed.accelerator import autocast_dtype, average
from srgan_dist.models.files import load_weights
from srgan_dist.models.vgg import load_vgg19
from srgan_dist.training.batch_norm import BatchNormStats
from srgan_dist.training.compilation import compile_in_place, mark_step
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.ema import EMA
from srgan_dist.training.flops import MetaStep, step_flops
from srgan_dist.training.losses import ContentLoss, VanillaGAN
from srgan_dist.training.steps import Losses, StepMetrics, Trainable, gan_step, pretrain_step

log = logging.getLogger("srgan_dist")


class Networks:
    """Generator and its moving average from the start, discriminator and losses from the adversarial phase on."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self._config, self._accelerator = config, accelerator
        self._statistics: list[BatchNormStats] = []
        self.generator = self._trainable(self._first_generator, stream=0)
        self.ema = EMA(self.generator.raw, config.ema_decay)
        self.discriminator: Trainable | None = None
        self._losses = Losses(config.loss.pixel, None, VanillaGAN(), config.loss.weights)
        """Those of the adversarial phase from then on; before it the pixel term counts alone."""
        self._degrade = config.degradation.build(config.scale, config.seed) if config.degradation else None

    def _first_generator(self) -> nn.Module:
        network = self._config.generator.build(self._config.scale)
        if self._config.weights:
            load_weights(network, self._config.weights)
        return network

    def start_adversarial(self) -> None:
        """Begins the second phase: the generator is what was evaluated, its optimizer new, its judge untrained."""
        self.generator.raw.load_state_dict(self.ema.module.state_dict())
        self.generator.optimizer.state.clear()
        self.ema.updates = 0
        self._add_discriminator()

    def _add_discriminator(self) -> None:
        config = self._config
        self.discriminator = self._trainable(lambda: config.discriminator.build(config.data.hr_crop), stream=1)
        adversarial = config.loss.adversarial.build(average(self._accelerator))
        self._losses = replace(self._losses, content=self._content_loss(), adversarial=adversarial)

    def update(
        self, parts: Sequence[Pair], learning_rate: float, measure_gradient_shares: bool
    ) -> tuple[StepMetrics, Tensor]:
        """One optimizer step of the phase that the run is in.

        Returns:
            The terms, and a bool scalar on the device: whether a network skipped the step, the same on every process.
        """
        self._set_learning_rate(learning_rate)
        for statistics in self._statistics:
            statistics.snapshot()
        _seed_torch(self._config.seed, parts[0])
        parts = [self._degraded(part) for part in parts]
        backward = self._accelerator.backward
        mark_step(self._config.compilation)
        if self.discriminator is None:
            terms = pretrain_step(self.generator, self._losses.pixel, parts, backward)
        else:
            terms = gan_step(self.generator, self.discriminator, self._losses, parts, backward, measure_gradient_shares)
        # Gradients were reduced over processes, so all of them see the same.
        bad = [~terms[f"{name}_norm"].isfinite() for name in ("generator", "discriminator")[: len(self._all())]]
        for statistics, skipped in zip(self._statistics, bad, strict=True):
            statistics.restore(skipped)
        self.ema.update()
        return terms, torch.stack(bad).any()

    def flops(self, crops: int) -> int:
        """Floating point operations of a step of the phase that the run is in, of so many crops."""
        # Counted by one process: its mean is everybody's.
        losses = replace(self._losses, adversarial=self._config.loss.adversarial.build(lambda mean: mean))
        judge = self.discriminator.raw if self.discriminator else None
        meta_step = MetaStep(self.generator.raw, judge, losses)
        return step_flops(meta_step, crops, self._config.data.hr_crop, self._config.scale)

    def flops_per_crop(self) -> float:
        """Operations of a step per crop; NaN for networks that cannot be counted.

        Counting loads torch's compiler, which takes seconds: done only where it says how well a GPU is used.
        """
        crops = self._config.data.batch
        try:
            return self.flops(crops) / crops
        except Exception as error:  # another program's network may need its device; one process must not fail alone
            log.warning("FLOP/s are not logged: the networks cannot be counted (%s)", error)
            return math.nan

    def _degraded(self, batch: Pair) -> Pair:
        if self._degrade is None:
            return batch
        assert batch.indices is not None
        made = self._degrade(batch.hr, batch.indices)
        return batch._replace(lr=made.lr, sharpened=made.target)

    def _set_learning_rate(self, value: float) -> None:
        for trainable in self._all():
            for group in trainable.optimizer.param_groups:
                group["lr"] = value

    def _all(self) -> list[Trainable]:
        return [self.generator] + ([self.discriminator] if self.discriminator else [])

    def _trainable(self, build: Callable[[], nn.Module], stream: int) -> Trainable:
        accelerator, config = self._accelerator, self._config
        with torch.random.fork_rng(devices=[]):  # the same start however the run got here
            torch.manual_seed(config.seed * 2 + stream)
            network = build()
        if synchronized(config.sync_batch_norm, accelerator):
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        raw = network.to(memory_format=torch.channels_last)
        net = accelerator.prepare_model(raw)  # DDP around it among several processes, else itself
        self._statistics.append(BatchNormStats(raw))
        compile_in_place(raw, config.compilation)
        optimizer = config.optimizer.build(raw.parameters())
        prepared = accelerator.prepare_optimizer(optimizer)
        return Trainable(
            net=net,
            raw=raw,
            optimizer=optimizer,
            optimizer_step=prepared.step,
            unscale=partial(accelerator.unscale_gradients, prepared),
            no_sync=partial(accelerator.no_sync, net),
            max_norm=config.clip_norm or math.inf,
            full_backward=config.compilation != "no",
        )

    def _content_loss(self) -> ContentLoss | None:
        content = self._config.loss.content
        if content is None:
            return None
        with self._accelerator.local_main_process_first():  # one download per machine
            features = load_vgg19([layer for layer, _ in content.layers], content.weights)
        features = features.to(memory_format=torch.channels_last)
        if (dtype := autocast_dtype(self._accelerator)) is not None:
            features.keep_in(dtype)
        features = self._accelerator.prepare_model(features, evaluation_mode=True)  # autocast, but no DDP
        compile_in_place(features, self._config.compilation)
        return ContentLoss(features, content)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, apart from its number."""
        scaler = self._accelerator.scaler
        return {
            "networks": [{"network": p.raw.state_dict(), "optimizer": p.optimizer.state_dict()} for p in self._all()],
            "ema": {"network": self.ema.module.state_dict(), "updates": self.ema.updates},
            "scaler": scaler.state_dict() if scaler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        if len(state["networks"]) == 2 and self.discriminator is None:
            self._add_discriminator()
        for trainable, saved in zip(self._all(), state["networks"], strict=True):
            trainable.raw.load_state_dict(saved["network"])
            trainable.optimizer.load_state_dict(saved["optimizer"])
        self.ema.module.load_state_dict(state["ema"]["network"])
        self.ema.updates = state["ema"]["updates"]
        if state["scaler"] and self._accelerator.scaler:
            self._accelerator.scaler.load_state_dict(state["scaler"])


_STREAM = 512
"""Far from those that crops and degradations are drawn by."""


def _seed_torch(seed: int, batch: Pair) -> None:
    """Make what networks draw themselves (DropPath in other people's) a function of the seed and the step's crops.

    Every process has its own crops, and so its own numbers; a run that is resumed draws the same ones. Outside of
    everything that is compiled or captured.
    """
    if batch.indices is not None and len(batch.indices):
        torch.manual_seed(int(hashed(seed, _STREAM, batch.indices[:1])[0] >> np.uint64(1)))


def synchronized(wanted: bool | None, accelerator: Accelerator) -> bool:
    """Whether BatchNorm takes its statistics over all processes.

    Raises:
        ValueError: asked for where torch cannot: it works among CUDA processes only.
    """
    several, cuda = accelerator.num_processes > 1, accelerator.device.type == "cuda"
    if wanted and several and not cuda:
        raise ValueError("sync_batch_norm=True works among CUDA processes only; leave it out on the CPU")
    return several and cuda and wanted is not False


def load_vgg_early(config: TrainConfig, accelerator: Accelerator) -> None:
    """Fails before any training where the adversarial phase would miss VGG19's weights hours later.

    One process of each machine fetches and reads them; the others wait for it.
    """
    content = config.loss.content
    if not config.adversarial.steps or content is None:
        return
    with accelerator.local_main_process_first():
        if accelerator.is_local_main_process:
            load_vgg19([layer for layer, _ in content.layers], content.weights)
