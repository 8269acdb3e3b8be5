import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from srgan_dist.models import CompactConfig
from srgan_dist.models.files import load_generator, load_weights
from srgan_dist.models.network_names import PUBLISHED, SHIPPED, PublishedNetwork
from srgan_dist.models.sources import find_model
from srgan_dist.utils import download
from tests.data.servers import Server

NAME = "realesr-animevideov3"
CONFIG = CompactConfig(channels=4, convs=1)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with a tiny network under the published name, and an empty cache."""
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_PAUSE", 0)
    folder = tmp_path / "served"
    folder.mkdir()
    file = folder / f"{NAME}.pth"
    torch.save({"params": CONFIG.build(4).state_dict()}, file)
    content = file.read_bytes()
    with Server(folder).running() as server:
        digest = hashlib.sha256(content).hexdigest()
        entry = PublishedNetwork(f"{server.url}/{file.name}", digest, len(content), 4, "BSD-3-Clause", "tiny")
        monkeypatch.setitem(PUBLISHED, NAME, entry)
        yield server


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_opens_by_its_name(name: str):
    generator = load_generator(Path(name))

    assert generator.label == name
    assert generator.scale == SHIPPED[name].scale
    assert next(generator.network.parameters()).dtype == torch.float32


def test_a_published_network_is_downloaded_once_and_opened(server: Server, tmp_path: Path):
    generator = load_generator(Path(NAME))
    load_weights(CONFIG.build(4), Path(NAME))

    assert generator.config == CONFIG
    assert generator.label == NAME
    assert sum(server.gets.values()) == 1
    assert (tmp_path / "cache" / "networks" / f"{NAME}.pth").is_file()


def test_a_name_is_found_in_any_case(server: Server):
    assert find_model(Path("REALESR-AnimeVideoV3")) == find_model(Path(NAME))


def test_a_file_of_the_user_comes_before_a_network_of_its_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_bytes(b"mine")

    assert find_model(Path(NAME)) == Path(NAME)
    assert not server.gets


def test_without_network_the_message_says_what_to_put_where(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address = PUBLISHED[NAME]._replace(url=f"http://127.0.0.1:9/{NAME}.pth")
    monkeypatch.setitem(PUBLISHED, NAME, address)
    file = tmp_path / "cache" / "networks" / f"{NAME}.pth"

    with pytest.raises(ValueError, match=f"could not be downloaded .*refused.* get {address.url} .* put it at {file}"):
        find_model(Path(NAME))

    file.write_bytes((server.folder / file.name).read_bytes())
    assert find_model(Path(NAME)) == file


def test_a_file_in_the_cache_that_is_not_the_published_one_is_refused(server: Server, tmp_path: Path):
    file = find_model(Path(NAME))
    file.write_bytes(file.read_bytes()[:-1] + b"x")

    with pytest.raises(ValueError, match=f"{file}: not the published {NAME}, its sha256 differs; delete it"):
        find_model(Path(NAME))


@pytest.mark.parametrize("source", ["RealESRGAN_x4plus.pth", "realesrgan-x4plus", "RealESRGAN_x4plu"])
def test_an_unknown_name_is_answered_with_the_most_similar_one(source: str):
    with pytest.raises(ValueError, match=r"there is no such model file .* did you mean the network RealESRGAN_x4plus"):
        find_model(Path(source))


def test_a_name_without_a_similar_one_is_answered_with_all_of_them():
    with pytest.raises(ValueError, match=rf"zzz: there is no such model .*, nor .*srgan-x4-small.*{NAME}"):
        find_model(Path("zzz"))


def test_a_path_is_not_taken_for_a_name():
    with pytest.raises(ValueError, match=r"runs/zzz: there is no such model file or run directory$"):
        find_model(Path("runs/zzz"))
