"""Trains a super-resolution GAN: `accelerate launch train.py PRESET [flags]`. See `train.py --help`."""

import sys

from srgan_dist.cli.train import train_main

if __name__ == "__main__":
    sys.exit(train_main())
