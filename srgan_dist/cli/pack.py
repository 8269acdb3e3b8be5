"""`srgan pack SOURCE`: images to WebDataset shards."""

import os
import sys

from srgan_dist.cli.console import show_list, unknown
from srgan_dist.distributed.group import Group, SingleProcess, no_progress


def main(args: list[str]) -> int:
    """`srgan pack SOURCE ...`; returns the exit code."""
    from srgan_dist.cli.parsing import parse_pair
    from srgan_dist.data.packing.catalog import SOURCES
    from srgan_dist.data.packing.pack import PackOptions, pack
    from srgan_dist.data.shards.verify import count_of
    from srgan_dist.utils.progress import progress_bar, start_logging

    if not args or args[0] in ("-h", "--help"):
        summaries = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in SOURCES.items()}
        return show_list(
            "usage: srgan pack SOURCE [flags]", "sources", summaries, "srgan pack SOURCE --help shows its flags."
        )
    if args[0] not in SOURCES:
        return unknown("source", args[0], SOURCES)
    source, options = parse_pair(SOURCES[args[0]], PackOptions, args[1:], f"srgan pack {args[0]}")
    group = _launched()
    start_logging(group.rank == 0)
    manifest = pack(source, options, group, progress_bar if group.rank == 0 else no_progress)
    if group.rank == 0:
        sys.stdout.write(f"{options.out}: {count_of(manifest)}\n")
    return 0


def _launched() -> Group:
    """The processes that a launcher started, or this one alone, which then need not load torch."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SingleProcess()
    from srgan_dist.distributed.accelerator import AcceleratorGroup, start

    return AcceleratorGroup(start("no"))
