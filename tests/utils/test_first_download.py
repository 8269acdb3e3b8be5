from pathlib import Path

import pytest

from srgan_dist.utils.first_download import compare_with_first, first_of, remember_first


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))


def test_a_later_download_must_be_the_first_one_again(tmp_path: Path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"first")
    compare_with_first("https://example.org/weights", file)
    compare_with_first("https://example.org/weights", file)

    file.write_bytes(b"another")

    with pytest.raises(ValueError, match=r"example.org/weights: its content has changed since the first download"):
        compare_with_first("https://example.org/weights", file)
    compare_with_first("https://example.org/other", file)


def test_a_published_prefix_of_the_hash_is_compared_too(tmp_path: Path):
    file = tmp_path / "vgg19-dcbb9e9d.pth"
    file.write_bytes(b"not VGG19")

    with pytest.raises(ValueError, match=r"vgg19-dcbb9e9d.pth: its sha256 .* does not begin with dcbb9e9d"):
        compare_with_first("https://example.org/vgg", file, prefix="dcbb9e9d")


def test_a_revision_is_kept():
    assert first_of("hf://datasets/a/b") is None
    remember_first("hf://datasets/a/b", "1" * 40)

    assert first_of("hf://datasets/a/b") == "1" * 40
    with pytest.raises(ValueError, match="has changed since the first download"):
        remember_first("hf://datasets/a/b", "2" * 40)
