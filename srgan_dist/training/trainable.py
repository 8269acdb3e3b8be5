"""The networks of a run on this process: building, wrapping, updating, saving and restoring them."""

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
from srgan_dist.models.discriminator_files import load_discriminator_weights
from srgan_dist.models.files import load_weights
from srgan_dist.models.vgg import VGGFeatures, load_vgg
from srgan_dist.training.artifact_loss import ArtifactLoss
from srgan_dist.training.batch_norm import BatchNormStats
from srgan_dist.training.compilation import compile_in_place, mark_step
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.ema import EMA
from srgan_dist.training.flops import MetaStep, step_flops
from srgan_dist.training.losses import ContentConfig, ContentLoss, VanillaGAN
from srgan_dist.training.steps import Losses, StepMetrics, Trainable, discriminator_step, gan_step, pretrain_step
from srgan_dist.utils.usage import UsageError

log = logging.getLogger("srgan_dist")


class Networks:
    """Generator and moving average; from the adversarial phase on, also the discriminator and its losses."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator) -> None:
        self._config, self._accelerator = config, accelerator
        self._statistics: list[BatchNormStats] = []
        """BatchNorm statistics of each network, in the order of `_all`."""
        self.generator = self._trainable(self._build_generator, stream=0)
        self.ema = EMA(self.generator.raw, config.ema_decay)
        self.discriminator: Trainable | None = None
        self._losses = Losses(config.loss.pixel, None, VanillaGAN(), config.loss.effective_weights)
        """Complete from the adversarial phase on; pretraining uses only the pixel term."""
        self._degrade = config.degradation.build(config.scale, config.seed) if config.degradation else None

    def _build_generator(self) -> nn.Module:
        network = self._config.generator.build(self._config.scale)
        if self._config.weights:
            load_weights(network, self._config.weights, self._config.weights_partial)
        return network

    def _build_discriminator(self) -> nn.Module:
        network = self._config.discriminator.build(self._config.data.hr_crop)
        if self._config.discriminator_weights:
            load_discriminator_weights(network, self._config.discriminator_weights)
        return network

    def start_adversarial(self) -> None:
        """Start the adversarial phase, with a new discriminator.

        The generator continues from its moving average, which is what validation measured, or starts from
        `adversarial_weights`; with a new optimizer state.
        """
        if self._config.adversarial_weights:
            load_weights(self.ema.module, self._config.adversarial_weights)
        self.generator.raw.load_state_dict(self.ema.module.state_dict())
        self.generator.optimizer.state.clear()
        self.ema.updates = 0
        self._add_discriminator()

    def _add_discriminator(self) -> None:
        config = self._config
        self.discriminator = self._trainable(self._build_discriminator, stream=1)
        adversarial = config.loss.adversarial.build(average(self._accelerator))
        artifact = ArtifactLoss(self.ema.module) if config.loss.weights.artifact else None
        self._losses = replace(self._losses, content=self._content_loss(), adversarial=adversarial, artifact=artifact)

    def update(
        self,
        parts: Sequence[Pair],
        learning_rate: float,
        measure_gradient_shares: bool,
        discriminator_alone: bool = False,
    ) -> tuple[StepMetrics, Tensor]:
        """Take one optimizer step of the current phase.

        Args:
            parts: The batch; see `gan_step`.
            learning_rate: Of the generator; the discriminator's is `discriminator_rate` times that.
            measure_gradient_shares: See `gan_step`.
            discriminator_alone: Update only the discriminator.

        Returns:
            The metrics of the step, and whether a network skipped it: a bool scalar on the device, the same on every
            process.
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
        elif discriminator_alone:
            terms = discriminator_step(self.generator, self.discriminator, self._losses, parts, backward)
        else:
            terms = gan_step(self.generator, self.discriminator, self._losses, parts, backward, measure_gradient_shares)
        skipped = self._restore_skipped(terms)
        if not discriminator_alone:
            self.ema.update()
        if self.discriminator and self._config.discriminator_warmup:
            terms |= {"discriminator_alone": torch.full_like(terms["discriminator"], float(discriminator_alone))}
        return terms, skipped

    def _restore_skipped(self, terms: StepMetrics) -> Tensor:
        """Restore the BatchNorm statistics of networks that did not learn; return whether one of them skipped the step.

        Reduced gradients are the same on every process, and so is the decision to skip: no communication is needed.
        """
        skipped_by: list[Tensor] = []
        for name, statistics in zip(("generator", "discriminator"), self._statistics, strict=False):
            norm = terms.get(f"{name}_norm")  # none if the step did not train this network
            skipped = (
                torch.ones((), dtype=torch.bool, device=self._accelerator.device) if norm is None else ~norm.isfinite()
            )
            skipped_by += [] if norm is None else [skipped]
            statistics.restore(skipped)
        return torch.stack(skipped_by).any()

    def discriminator_weights(self) -> dict[str, Tensor] | None:
        """Return the discriminator's parameters and buffers by name; None in the pretraining phase."""
        return self.discriminator.raw.state_dict() if self.discriminator else None

    def flops(self, crops: int) -> int:
        """Return the floating-point operations of a step on `crops` crops in the current phase."""
        # Only one process counts, so the loss must not average over processes: the collective would never return.
        losses = replace(self._losses, adversarial=self._config.loss.adversarial.build(lambda mean: mean))
        discriminator = self.discriminator.raw if self.discriminator else None
        meta_step = MetaStep(self.generator.raw, discriminator, losses)
        return step_flops(meta_step, crops, self._config.data.hr_crop, self._config.scale)

    def flops_per_crop(self) -> float:
        """Return the floating-point operations of a step per crop; NaN if the networks cannot be counted.

        Counting imports torch's compiler, which takes seconds. Call it only if the device's peak performance is known.
        """
        crops = self._config.data.batch
        try:
            return self.flops(crops) / crops
        except Exception as error:  # a custom network may not run on meta tensors; rank 0 must not fail alone
            log.warning("FLOP/s are not logged: counting the networks' operations failed (%s)", error)
            return math.nan

    def _degraded(self, batch: Pair) -> Pair:
        if self._degrade is None:
            return batch
        assert batch.indices is not None
        degraded = self._degrade(batch.hr, batch.indices, batch.offsets)
        return batch._replace(lr=degraded.lr, hr=degraded.hr, sharpened=degraded.target, offsets=None)

    def _set_learning_rate(self, value: float) -> None:
        for trainable in self._all():
            rate = value * self._config.discriminator_rate if trainable is self.discriminator else value
            for group in trainable.optimizer.param_groups:
                group["lr"] = rate

    def _all(self) -> list[Trainable]:
        return [self.generator] + ([self.discriminator] if self.discriminator else [])

    def _trainable(self, build: Callable[[], nn.Module], stream: int) -> Trainable:
        """Build a network with its optimizer, and prepare both for this process.

        The order matters: SyncBatchNorm and the memory format come before DDP, which records the parameters. The
        BatchNorm statistics and the optimizer come after the move to the device, because they refer to its tensors.
        """
        accelerator, config = self._accelerator, self._config
        with torch.random.fork_rng(
            devices=[]
        ):  # initial weights depend on the seed only, not on earlier random numbers
            torch.manual_seed(config.seed * 2 + stream)
            network = build()
        if use_sync_batch_norm(config.sync_batch_norm, accelerator):
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        raw = network.to(memory_format=torch.channels_last)
        net = accelerator.prepare_model(raw)  # wrapped in DDP if there are several processes
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
        content = self._config.loss.vgg
        if content is None:
            return None
        with self._accelerator.local_main_process_first():  # one process per machine downloads the weights
            features = _load_vgg(content)
        features = features.to(memory_format=torch.channels_last)
        if (dtype := autocast_dtype(self._accelerator)) is not None:
            features.keep_in(dtype)
        features = self._accelerator.prepare_model(features, evaluation_mode=True)  # autocast, but no DDP
        compile_in_place(features, self._config.compilation)
        return ContentLoss(features, content)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except for its number."""
        scaler = self._accelerator.scaler
        return {
            "networks": [{"network": p.raw.state_dict(), "optimizer": p.optimizer.state_dict()} for p in self._all()],
            "ema": {"network": self.ema.module.state_dict(), "updates": self.ema.updates},
            "scaler": scaler.state_dict() if scaler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`, creating the discriminator if the checkpoint is from the adversarial phase."""
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
"""Random stream of the networks; far from the streams that crops and degradations use."""


def _seed_torch(seed: int, batch: Pair) -> None:
    """Seed torch from the run's seed and the step's crops, for networks that draw random numbers (e.g. DropPath).

    Each process has its own crops and therefore its own random numbers, and a resumed run draws the same ones. Call it
    outside compiled or captured code.
    """
    if batch.indices is not None and len(batch.indices):
        torch.manual_seed(int(hashed(seed, _STREAM, batch.indices[:1])[0] >> np.uint64(1)))


def use_sync_batch_norm(requested: bool | None, accelerator: Accelerator) -> bool:
    """Return whether BatchNorm statistics are computed over all processes.

    Raises:
        ValueError: if it was requested for several CPU processes, which torch does not support.
    """
    several, cuda = accelerator.num_processes > 1, accelerator.device.type == "cuda"
    if requested and several and not cuda:
        raise UsageError("sync_batch_norm=True requires CUDA; remove it to train on the CPU")
    return several and cuda and requested is not False


def load_vgg_early(config: TrainConfig, accelerator: Accelerator) -> None:
    """Load VGG once before training, so that missing weights fail now and not at the start of the adversarial phase.

    One process per machine downloads and reads the weights while the others wait.
    """
    content = config.loss.vgg
    if config.adversarial.steps and config.loss.content and not content and accelerator.is_main_process:
        log.info("loss.weights.content=0: no VGG content loss; --loss.weights.content 1 turns it on")
    if not config.adversarial.steps or content is None:
        return
    with accelerator.local_main_process_first():
        if accelerator.is_local_main_process:
            _load_vgg(content)


def _load_vgg(content: ContentConfig) -> VGGFeatures:
    return load_vgg(content.network, [layer for layer, _ in content.layers], content.weights)
