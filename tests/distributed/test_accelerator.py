from pathlib import Path
from typing import Any

import pytest
import torch

from srgan_dist.distributed import accelerator
from srgan_dist.distributed.accelerator import start


class Several:
    """Stands for the state of a process among others."""

    num_processes = 3
    is_main_process = True


@pytest.mark.parametrize(
    ("all_processes", "agreed"),
    [
        (["bf16", "bf16", "bf16"], "bf16"),
        (["fp16", "fp16", "fp16"], "fp16"),
        (["bf16", "fp16", "bf16"], "fp16"),
        (["bf16", "no", "fp16"], "no"),
    ],
)
def test_processes_on_different_cards_agree_on_a_precision_that_all_of_them_have(
    all_processes: list[str], agreed: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(accelerator, "PartialState", Several)
    monkeypatch.setattr(accelerator, "gather_object", lambda _: all_processes)

    assert [accelerator._agree_on_precision(mine) for mine in all_processes] == [agreed] * 3


def test_what_a_process_would_choose_is_asked_of_all_before_the_accelerator_is_made(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(accelerator, "_agree_on_precision", lambda mine: asked.append(mine) or "bf16")

    made = start("auto")

    assert asked == ["no"]
    assert made.mixed_precision == "bf16"


def test_a_second_run_of_one_program_may_have_another_precision():
    assert [str(start(precision).mixed_precision) for precision in ("no", "bf16", "no")] == ["no", "bf16", "no"]


def test_one_process_of_a_machine_goes_first(monkeypatch: pytest.MonkeyPatch):
    made: Any = start("no")
    went: list[Path] = []
    monkeypatch.setattr(made, "local_main_process_first", lambda: went.append(Path()) or torch.no_grad())

    with accelerator.AcceleratorGroup(made).local_main_first():
        pass

    assert len(went) == 1
