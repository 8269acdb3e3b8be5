"""The pages of the site: links, anchors, and the code that they show."""

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import yaml

from docs.generator import stage
from docs.generator.stage import ROOT, links, pages
from srgan_dist.cli import app, console, parsing
from srgan_dist.cli.app import COMMANDS
from srgan_dist.training.presets import PRESETS

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and Python-Markdown write them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_and_their_anchors_lead_somewhere(page: Path):
    broken = []
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken


def test_the_site_holds_every_page_and_every_file_that_a_page_links_to(tmp_path: Path):
    count = stage.stage(tmp_path / "site")

    copies = [f for f in (tmp_path / "site").rglob("*") if f.is_file()]
    assert len(copies) == count
    for page in pages():
        copy = tmp_path / "site" / page.relative_to(ROOT)
        for link in links(copy.read_text(encoding="utf-8")):
            assert (copy.parent / link.partition("#")[0]).exists(), f"{page}: {link}"


def test_a_link_out_of_the_repository_stops_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "page.md").write_text("[other](../elsewhere.md)")
    monkeypatch.setattr(stage, "ROOT", tmp_path)

    with pytest.raises(ValueError, match=r"page\.md: there is no \.\./elsewhere\.md"):
        stage.stage(tmp_path / "site")


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 90
    assert len(text.split()) <= 900


def test_navigation_names_every_page():
    def named(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for inner in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from named(inner)

    found = list(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))

    assert sorted(found) == sorted(map(name_of, pages()))


def blocks(language: str) -> list[tuple[str, str]]:
    found = ((page, block) for page in pages() for block in BLOCK.findall(page.read_text(encoding="utf-8")))
    return [(name_of(page), text) for page, (tag, text) in found if tag == language]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the command lines of a block that start this program: `srgan` or `train.py`, and their arguments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.replace("&&", " ; "), comments=True)
        for start, word in enumerate(words):
            if word in ("srgan", "train.py", "srgan_dist"):
                rest = words[start + 1 :]
                end = rest.index(";") if ";" in rest else len(rest)
                yield [word, *rest[:end]]
                break


class ParsedError(BaseException):
    """Raised instead of running a command whose flags were parsed."""


def refuses(command: list[str]) -> str:
    """Return why this program does not accept a command line; an empty string if it does."""
    program, *args = command
    if program == "train.py":
        args = ["train", *args]
    if "..." in args or args[:1] == ["mlflow"] or "--help" in args or args == ["--version"]:
        return "" if args[0] in (*COMMANDS, "--version") else f"there is no {args[0]}"
    if args[0] not in COMMANDS:
        return f"there is no {args[0]}"

    def and_stop(function: Callable[..., object]) -> Callable[..., None]:
        def parse(*given: object, **options: object) -> None:
            function(*given, **options)
            raise ParsedError

        return parse

    parse = and_stop(parsing._parse)  # pyright: ignore[reportPrivateUsage]
    with mock.patch.object(parsing, "_parse", parse), mock.patch.object(console, "exit_when_launcher_dies"):
        try:
            code = app.main([a for a in args if a != "--dry-run"])
        except ParsedError:
            return ""
        except SystemExit as stop:
            code = stop.code
    return f"{' '.join(command)}: exit code {code}"


COMMAND_LINES = [(page, c) for page, text in [*blocks("bash"), *blocks("")] for c in commands(text)]


def test_pages_show_many_commands():
    assert len(COMMAND_LINES) > 60
    assert {c[1] for _, c in COMMAND_LINES if c[0] == "srgan"} >= set(COMMANDS) - {"train"}


@pytest.mark.parametrize(
    ("page", "command"), COMMAND_LINES, ids=lambda v: v if isinstance(v, str) else " ".join(v)[:60]
)
def test_commands_on_pages_are_accepted(page: str, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("COLUMNS", "100")
    config = tmp_path / "config.json"
    config.write_text("{}")
    command = [str(config) if word.endswith("config.json") else word for word in command]

    assert not refuses(command), page


def test_a_wrong_flag_and_a_wrong_preset_are_found():
    assert "exit code 2" in refuses(["srgan", "upscale", "a.png", "b.png", "--modle", "x"])
    assert "exit code 2" in refuses(["train.py", "srgan-x5"])


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda v: v[:40])
def test_python_on_pages_compiles(page: str, code: str):
    ast.parse(code, page)


def test_presets_on_pages_exist():
    shown = re.findall(r"`((?:[a-z]+-)+x[1-9])`", "\n".join(p.read_text(encoding="utf-8") for p in pages()))

    assert not set(shown) - set(PRESETS) - {"div2k-x4"}
