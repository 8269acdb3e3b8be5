"""train.py, in which process 1 alone meets a disaster at its tenth batch: `nan`, `error` or `data`."""

import os
import sys

import torch

from srgan_dist.cli.train import train_main
from srgan_dist.data.batch import Pair, RawBatch
from srgan_dist.data.loading import prefetch

disaster = os.environ["DISASTER"]
calls = 0
to_device = prefetch.to_device


def spoilt(raw: RawBatch, device: torch.device) -> Pair:
    global calls
    calls += 1
    pair = to_device(raw, device)
    if os.environ.get("RANK") != "1" or calls < 10:
        return pair
    if disaster == "nan":
        return Pair(pair.lr, pair.hr * float("nan"))
    if disaster == "data":
        raise ValueError("train-000000.tar, sample image: cannot be read")
    raise RuntimeError("out of luck")


prefetch.to_device = spoilt
sys.exit(train_main())
