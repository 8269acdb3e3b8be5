"""`python -m srgan_dist` and `accelerate launch -m srgan_dist` are the `srgan` command."""

import sys

from srgan_dist.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
