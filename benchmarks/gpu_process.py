"""`train.py` with a communication backend of one's own choice: `python gpu_process.py BACKEND PRESET ...`.

Two processes can share a card under gloo only, which Accelerate does not choose where there is a GPU.
"""

import sys

import torch
from accelerate import PartialState

from srgan_dist.cli.train import train_main

if __name__ == "__main__":
    backend = sys.argv.pop(1)
    PartialState(cpu=not torch.cuda.is_available(), backend=backend)
    sys.exit(train_main())
