import os
from pathlib import Path

import pytest

from srgan_dist.imaging.listing import list_folder, list_images

FILES = (
    "a.png", "B.PNG", "c.JFIF", "d.avif", "e.tga", "f.jp2", "g.gif", "h.HEIC", "._a.png", ".DS_Store", "Thumbs.db",
    "notes.txt", "more.txt", "README", "sub/i.png", "sub/deep/j.webp", "sub/k.txt", ".cache/l.png",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "images.png").mkdir()
    (tmp_path / "in" / "images.png" / "m.bmp").touch()
    (tmp_path / "in" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "loop").symlink_to(".")
    return tmp_path / "in"


@pytest.mark.parametrize("recursive", [False, True])
def test_every_file_is_listed_or_counted(folder: Path, recursive: bool):
    listing = list_folder(folder, recursive=recursive)

    found = [f.relative_to(folder).as_posix() for f in listing.files]
    nested = ["images.png/m.bmp", "sub/deep/j.webp", "sub/i.png"] if recursive else []
    assert found == sorted(["B.PNG", "a.png", "c.JFIF", "d.avif", "e.tga", "f.jp2", "g.gif", "gone.png", "h.HEIC",
                            "pipe.png", *nested], key=lambda name: Path(name))  # fmt: skip
    assert (listing.hidden, listing.nested, listing.linked) == (3, 0 if recursive else 4, 1)
    assert listing.others == {".txt": 3 if recursive else 2, ".db": 1, "": 1}
    counted = listing.hidden + listing.nested + listing.linked + listing.others.total() + len(listing.files)
    assert counted == len(FILES) + 4


def test_one_line_says_what_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "srgan_dist")

    files = list_images(folder)

    assert len(files) == 10
    assert [r.getMessage() for r in caplog.records] == [
        f"{folder}: 10 images; left out: 4 in subfolders (pack and upscale: --recursive), 3 hidden, "
        "4 of other types (.txt 2, .db 1, without extension 1), 1 links to folders"
    ]


def test_a_folder_without_images_says_what_it_has(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()

    with pytest.raises(ValueError, match=r"no images here \(.*; left out: 1 in subfolders"):
        list_images(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        list_images(tmp_path / "missing")
