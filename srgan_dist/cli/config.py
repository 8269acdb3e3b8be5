"""`srgan config PRESET --out FILE.yaml`: write a preset as a file to edit, and its schema for editors."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from srgan_dist import __version__
from srgan_dist.cli.console import Menu
from srgan_dist.cli.parsing import HelpOptions, parse_pair
from srgan_dist.cli.template import template
from srgan_dist.cli.train import COMMON
from srgan_dist.cli.without_torch import without_torch
from srgan_dist.training.preset_names import SUMMARIES
from srgan_dist.utils.files import output_errors, write_text
from srgan_dist.utils.settings.json_schema import json_schema
from srgan_dist.utils.terminal import printable, write_out
from srgan_dist.utils.usage import UsageError

SCHEMA = "srgan_dist.schema.json"
"""Name of the schema, which is written beside the file and serves all files of its folder."""


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Write a preset as a YAML file to edit, with a comment for each setting and a schema for editors."""

    out: Path
    """YAML file to write; the schema is written beside it."""

    overwrite: bool = False
    """Replace the file if it exists."""


def main(args: list[str]) -> int:
    """Run `srgan config PRESET --out FILE.yaml [flags]`, and return the exit code."""
    hint = "All flags of training may be added: their values are written into the file."
    menu = Menu("usage: srgan config PRESET --out FILE.yaml [flags]", "preset", SUMMARIES, hint)
    if (code := menu.answer(args)) is not None:
        return code
    with without_torch():
        text, schema, options = _contents(args[0], args[1:])
    if options.out.exists() and not options.overwrite:
        raise UsageError(f"--out {options.out} exists; choose another name, or pass --overwrite")
    beside = options.out.with_name(SCHEMA)
    for content, file in ((schema, beside), (text, options.out)):
        with output_errors(file):
            write_text(content, file)
    shown = printable(options.out)
    write_out(f"{shown}: edit it, then run it with: srgan train --config {shown}\n{printable(beside)}: for editors\n")
    return 0


def _contents(preset_name: str, args: list[str]) -> tuple[str, str, ConfigOptions]:
    """Return the file, the schema, and the options.

    Raises:
        UsageError: If a flag is not valid.
    """
    from srgan_dist.training.config import TrainConfig
    from srgan_dist.training.presets import preset

    about = "Write a preset as a YAML file to edit. The values of other flags of training are written into it."
    options, config = parse_pair(
        ConfigOptions, TrainConfig, args, f"srgan config {preset_name}", preset(preset_name),
        HelpOptions(about, ("out", "overwrite", *COMMON)),
    )  # fmt: skip
    if options.out.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"--out {options.out} must end in .yaml")
    if config.run_dir == preset(preset_name).run_dir:
        config = replace(config, run_dir=Path("runs", options.out.stem))
    text = template(config, TrainConfig(), _header(preset_name, options.out), COMMON)
    schema = json_schema(TrainConfig, "A training run of srgan_dist")
    return text, json.dumps(schema, indent=1) + "\n", options


def _header(preset_name: str, out: Path) -> str:
    return (
        f"yaml-language-server: $schema={SCHEMA}\n\n"
        f"{preset_name}: {SUMMARIES[preset_name]}.\nWritten by srgan_dist {__version__}. To run it:\n"
        f"  srgan train --config {out.name}                    in one process\n"
        f"  accelerate launch train.py --config {out.name}     on all GPUs\n"
        "Add --dry-run to try it out. Flags, such as --data.batch 8, take precedence over this file.\n\n"
        "Settings behind a # have their default: remove the # to change them. The others are those that people change\n"
        "most, and those in which this preset differs from the defaults."
    )
