"""train.py, in which every process has a run directory of its own, as on machines without a shared disk."""

import os
import sys

from srgan_dist.cli.train import train_main

sys.exit(train_main([*sys.argv[1:], f"--run-dir=run-{os.environ['RANK']}"]))
