"""Run by test_relativistic_processes.py on each process: GAN steps and degradations on its slice."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srgan_dist.data.batch import Pair
from srgan_dist.data.degradations import RealESRGANDegradation
from srgan_dist.distributed.accelerator import AcceleratorGroup, average, start
from srgan_dist.models import RRDBNetConfig
from srgan_dist.training.losses import RelativisticGAN, Weights
from srgan_dist.training.steps import Losses, Trainable, gan_step

GLOBAL_BATCH, STEPS = 4, 3


def run(out: Path) -> None:
    accelerator = start("no")
    torch.set_num_threads(1)  # sums in the same order, however many processes share the machine
    results = {mean: trained(accelerator, mean) for mean in ("all", "process")}
    if accelerator.is_main_process:
        torch.save(results, out)
    accelerator.wait_for_everyone()


def trained(accelerator, mean):
    loss = RelativisticGAN(mean=mean).build(average(accelerator))
    losses = Losses("l1", None, loss, Weights(pixel=0.0, content=0.0, adversarial=1.0))
    degrade = RealESRGANDegradation().build(2, seed=5)
    share = GLOBAL_BATCH // accelerator.num_processes
    mine = slice(share * accelerator.process_index, share * (accelerator.process_index + 1))
    trainables = [trainable(accelerator, network) for network in networks()]
    rng = torch.Generator().manual_seed(0)
    seen = []
    for step in range(STEPS):
        bright = torch.linspace(0, 4, GLOBAL_BATCH).view(-1, 1, 1, 1)  # so that the processes' own means are far apart
        hr = (bright + torch.rand(GLOBAL_BATCH, 3, 16, 16, generator=rng))[mine]
        indices = np.arange(step * GLOBAL_BATCH, (step + 1) * GLOBAL_BATCH, dtype=np.uint64)[mine]
        made = degrade(hr / 5, indices)
        seen += AcceleratorGroup(accelerator).gather(
            [(int(i), lr.numpy()) for i, lr in zip(indices, made.lr, strict=True)]
        )
        gan_step(trainables[0], trainables[1], losses, [Pair(made.lr, hr, indices)], accelerator.backward)
    lrs = [lr for _, lr in sorted(seen, key=lambda numbered: numbered[0])]
    return {"weights": [p.raw.state_dict() for p in trainables], "lr": torch.from_numpy(np.stack(lrs))}


def networks():
    torch.manual_seed(0)
    yield RRDBNetConfig(blocks=1, channels=4, growth_channels=4).build(2)
    yield nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3))


def trainable(accelerator, network):
    net = accelerator.prepare_model(network)
    raw = accelerator.unwrap_model(net)
    optimizer = torch.optim.SGD(raw.parameters(), lr=0.05, fused=True)
    return Trainable(net=net, raw=raw, optimizer=optimizer, optimizer_step=optimizer.step)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads sometimes abort in Python's shutdown
