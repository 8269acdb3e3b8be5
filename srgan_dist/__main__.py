"""Run the `srgan` command with `python -m srgan_dist` or `accelerate launch -m srgan_dist`."""

import sys

from srgan_dist.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
