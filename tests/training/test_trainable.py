from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from srgan_dist.training import trainable
from srgan_dist.training.presets import preset


@pytest.mark.parametrize(
    ("name", "local_main", "reads"),
    [("srgan-x4", True, 1), ("srgan-x4", False, 0), ("srgan-mse-x4", True, 0), ("srresnet-x4", True, 0)],
)
def test_vgg_is_read_early_by_one_process_of_a_machine_and_only_where_it_is_needed(
    name: str, local_main: bool, reads: int, monkeypatch: pytest.MonkeyPatch
):
    read: list[Any] = []
    monkeypatch.setattr(trainable, "load_vgg19", lambda *what: read.append(what))
    accelerator: Any = SimpleNamespace(is_local_main_process=local_main, local_main_process_first=nullcontext)

    trainable.load_vgg_early(preset(name), accelerator)

    assert len(read) == reads
