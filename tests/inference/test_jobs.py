import os
from pathlib import Path

import pytest
from PIL import Image

from srgan_dist.inference.jobs import find_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for name in ("a.png", "b.jfif", "sub/a.png", "sub/deep/c.tga", "sub/deep/c.gif", ".hidden/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, {".jfif": "JPEG"}.get(Path(name).suffix))
    return folder


def targets(jobs, out: Path) -> list[str]:
    return [j.target.relative_to(out).as_posix() for j in jobs]


def test_the_structure_of_subfolders_is_kept(folder: Path, tmp_path: Path):
    paths = (folder, tmp_path / "out")

    assert targets(find_jobs(paths, "png"), tmp_path / "out") == ["a.png", "b.png"]
    assert targets(find_jobs(paths, "png", recursive=True), tmp_path / "out") == [
        "a.png", "b.png", "sub/a.png", "sub/deep/c.gif.png", "sub/deep/c.tga.png",
    ]  # fmt: skip


def test_results_never_land_inside_a_tree_that_is_read(folder: Path):
    for out in (folder / "out", folder / "sub" / "out", folder):
        with pytest.raises(ValueError, match="choose another folder"):
            find_jobs((folder, out), "png", recursive=True)


def test_a_pipe_that_a_glob_matches_is_not_dropped(folder: Path, tmp_path: Path):
    os.mkfifo(folder / "pipe.png")

    jobs = find_jobs((folder / "*.png", tmp_path / "out"), "png")

    assert [j.source.name for j in jobs] == ["a.png", "pipe.png"]
