"""Collect the pages of the site: `python -m docs.generator.stage FOLDER`.

The site's source is a copy of the repository's Markdown files and of the files that they link to, in the same folders:
every relative link is right on the site, in a clone, and where the repository is shown.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("*.md", "docs/**/*.md", "launch/*.md", "shards/*.md", "benchmarks/*.md")

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Return the repository's Markdown files that are pages of the site."""
    return sorted({file for pattern in PAGES for file in ROOT.glob(pattern)})


def links(text: str) -> list[str]:
    """Return the targets of the links and images of a page, other sites and code blocks excluded."""
    found = _LINK.findall(_CODE.sub("", text))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def stage(folder: Path) -> int:
    """Copy all pages and linked files into `folder`, which is replaced, and return their number.

    Raises:
        ValueError: A link leads to a file that does not exist, or out of the repository.
    """
    wanted = set(pages())
    for page in list(wanted):
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve() if link[0] != "#" else page
            if not target.is_relative_to(ROOT) or not target.exists():
                raise ValueError(f"{page.relative_to(ROOT)}: there is no {link}")
            wanted |= {target} if target.is_file() else set()
    shutil.rmtree(folder, ignore_errors=True)
    for file in wanted:
        copy = folder / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return len(wanted)


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
