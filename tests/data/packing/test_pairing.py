from pathlib import Path

import pytest

from srgan_dist.data.packing.pairing import Item, folder_items, listed_items, pair
from srgan_dist.data.packing.sources import FolderSource


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def pairs(items: list[Item]) -> list[tuple[str, str | None]]:
    assert not [i.problem for i in items if i.problem]
    return [(i.name, i.lr and i.lr.name) for i in items]


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("HR", "LR"), ("hr", "lr"), ("GT", "LQ"), ("gt", "lq_x4"), ("HR_x4", "LR_x4"), ("GTmod12", "LRbicx4"),
        ("HQ", "LR_bicubic/X4"), ("HR", "LR/x4"),
    ],
)  # fmt: skip
def test_hr_and_lr_folders_are_found_by_the_names_that_the_field_gives_them(hr: str, lr: str, tmp_path: Path):
    touch(tmp_path, f"{hr}/a.png", f"{hr}/b.png", f"{lr}/a.png", f"{lr}/bx4.png")

    assert pairs(folder_items(tmp_path, 4)) == [("a", "a.png"), ("b", "bx4.png")]


@pytest.mark.parametrize(
    ("hr", "lr"), [("a_HR.png", "a_LR.png"), ("a-gt.png", "a-lq.png"), ("a_hr.jpg", "a_lr_x4.png"),
                   ("a_SRF_4_HR.png", "a_SRF_4_LR.png")],
)  # fmt: skip
def test_files_of_one_folder_are_paired_by_their_suffixes(hr: str, lr: str, tmp_path: Path):
    touch(tmp_path, hr, lr)

    assert pairs(folder_items(tmp_path, 4)) == [("a", lr)]


def test_a_file_without_suffix_beside_suffixed_pairs_is_a_problem(tmp_path: Path):
    touch(tmp_path, "a_HR.png", "a_LR.png", "b_HR.png", "c.png")

    problems = [item.problem for item in folder_items(tmp_path, 4) if item.problem]

    assert [p.rpartition(": ")[2] for p in problems] == [
        "no LR partner",
        "its name ends neither in _HR nor in _LR, as the others do",
    ]


def test_names_that_only_look_like_suffixes_of_one_kind_are_ordinary_images(tmp_path: Path):
    touch(tmp_path, "scan_lr.png", "b.png")

    assert pairs(folder_items(tmp_path, 4)) == [("b", None), ("scan_lr", None)]


def test_suffixes_in_paired_folders_are_ignored_only_where_names_differ_by_them(tmp_path: Path):
    touch(tmp_path / "1", "HR/car_hr.png", "LR/car_lr.png")
    touch(tmp_path / "2", "HR/car.png", "HR/car_gt.png", "LR/car.png", "LR/car_gt.png")

    assert pairs(folder_items(tmp_path / "1", 4)) == [("car", "car_lr.png")]
    assert pairs(folder_items(tmp_path / "2", 4)) == [("car", "car.png"), ("car_gt", "car_gt.png")]


def test_folders_of_another_scale_are_named(tmp_path: Path):
    touch(tmp_path, "HR_x2/a.png", "LR_x2/a.png")

    with pytest.raises(ValueError, match="has no HR_x4 folder, but HR_x2; set --scale to match"):
        FolderSource(root=tmp_path).items("train", 4)


def test_two_folders_that_could_be_meant_are_named(tmp_path: Path):
    touch(tmp_path, "HR/a.png", "GT/a.png", "LR/a.png")

    with pytest.raises(ValueError, match="both GT and HR could be meant"):
        folder_items(tmp_path, 4)


def test_hr_files_of_one_name_keep_their_extensions():
    files = [Path("a.jpg"), Path("a.png"), Path("b.png")]

    assert [i.name for i in pair(files, None, 4)] == ["a.jpg", "a.png", "b"]


def test_a_meta_info_list_names_the_images_in_its_order(tmp_path: Path):
    touch(tmp_path, "GT/a.png", "GT/b.png", "LQ/a.png", "LQ/b_s.png", "sub/c.png")
    lines = ["b.png, b_s.png", "", "a.png (480,480,3)", "sub/c.png,LQ/a.png", "d.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))

    items = FolderSource(root=tmp_path, meta_info=tmp_path / "list.txt").items("train", 4)

    assert pairs(items[:3]) == [("b", "b_s.png"), ("a", "a.png"), ("sub/c", "a.png")]
    assert items[3].problem.endswith("list.txt, line 5: d.png does not exist")


@pytest.mark.parametrize(("text", "message"), [("", "names no image"), ("a, b, c", "line 1: 'a, b, c' names more")])
def test_a_meta_info_list_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path):
    (tmp_path / "list.txt").write_text(text)

    with pytest.raises(ValueError, match=message):
        listed_items(tmp_path / "list.txt", tmp_path, 4)
