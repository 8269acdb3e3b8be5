"""The generated pages by file name. tests/docs/test_pages.py compares them with the files in docs/reference."""

from collections.abc import Callable
from pathlib import Path

from docs.generator.commands import commands_page
from docs.generator.configuration import configuration_page
from docs.generator.presets import presets_page

REFERENCE = Path(__file__).parents[1] / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "presets.md": presets_page,
}
