"""`srgan pack SOURCE`: pack images into WebDataset shards."""

from srgan_dist.cli.console import Menu, join_processes
from srgan_dist.utils.terminal import printable, write_out

COMMON = ("root", "out", "scale", "split", "encoding", "limit", "valid", "recursive", "skip_bad", "workers")
"""The flags that people change most, in the order of the help text."""


def main(args: list[str]) -> int:
    """Run `srgan pack SOURCE ...`, and return the exit code."""
    from srgan_dist.cli.parsing import HelpOptions, parse_pair
    from srgan_dist.data.packing.catalog import SOURCES
    from srgan_dist.data.packing.pack import PackOptions, pack
    from srgan_dist.data.shards.verify import count_of

    summaries = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in SOURCES.items()}
    menu = Menu(
        "usage: srgan pack SOURCE [flags]",
        "source",
        summaries,
        "srgan pack SOURCE --help lists the flags of a source.",
        "srgan pack folder --root {}",
    )
    if (code := menu.answer(args)) is not None:
        return code
    source, options = parse_pair(
        SOURCES[args[0]], PackOptions, args[1:], f"srgan pack {args[0]}", shown=HelpOptions(common=COMMON)
    )
    processes = join_processes(computes=False)
    manifest = pack(source, options, processes.group, processes.progress)
    if processes.first:
        write_out(f"{printable(options.out)}: {count_of(manifest)}\n")
    return 0
