"""train.py, in which process 1 alone meets a disaster at its tenth batch: `nan`, `error` or `data`."""

import os
import sys

import torch

from srgan_dist.cli import train_main
from srgan_dist.data import stream
from srgan_dist.data.reader import Pair, RawBatch

disaster = os.environ["DISASTER"]
calls = 0
to_device = stream.to_device


def spoilt(raw: RawBatch, device: torch.device) -> Pair:
    global calls
    calls += 1
    pair = to_device(raw, device)
    if os.environ.get("RANK") != "1" or calls < 10:
        return pair
    if disaster == "nan":
        return Pair(pair.lr, pair.hr * float("nan"))
    if disaster == "data":
        raise ValueError("train-000000.tar, sample picture: cannot be read")
    raise RuntimeError("out of luck")


stream.to_device = spoilt
sys.exit(train_main())
