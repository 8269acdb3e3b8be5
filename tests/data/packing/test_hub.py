"""Private and gated data sets of the Hub: one line says what to do."""

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from srgan_dist.data.packing.hub import download
from srgan_dist.data.shards.location import ShardLocation
from srgan_dist.data.shards.shard_set import ShardSet
from tests.data.hub import Hub


@pytest.fixture(params=["private", "gated"])
def hub(request: pytest.FixtureRequest, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = {f.name: f.read_bytes() for f in shards.iterdir() if f.is_file()} | {"images/a.png": b"content"}
    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    with Hub(files, access=request.param).running() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub
    huggingface_hub.HfFileSystem.clear_instance_cache()


def test_a_source_that_needs_a_token_says_so_in_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        ValueError, match=r"^hf://datasets/user/name: access denied \(40[13]\); .*set HF_TOKEN"
    ) as raised:
        download("user/name", ["images"], tmp_path / "root")
    assert "\n" not in str(raised.value)

    monkeypatch.setenv("HF_TOKEN", hub.token)
    download("user/name", ["images"], tmp_path / "root")
    assert (tmp_path / "root" / "images" / "a.png").read_bytes() == b"content"


def test_shards_that_need_a_token_say_so_also_if_their_manifest_is_in_the_cache(hub: Hub, monkeypatch):
    url = "hf://datasets/user/name"
    denied = rf"^{url}/manifest.json: access denied \(40[13]\); .*set HF_TOKEN"
    with pytest.raises(ValueError, match=denied):
        ShardLocation(url)

    monkeypatch.setenv("HF_TOKEN", hub.token)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    assert len(ShardSet((url,), "train")) == 10

    monkeypatch.delenv("HF_TOKEN")
    huggingface_hub.HfFileSystem.clear_instance_cache()
    if hub.access == "private":  # the list of a gated set's files is public, and says that the manifest is unchanged
        with pytest.raises(ValueError, match=denied):
            ShardLocation(url)
