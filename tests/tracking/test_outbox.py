import logging
import os
from pathlib import Path

import pytest

from srgan_dist.tracking.outbox import Outbox
from srgan_dist.tracking.points import BATCH, PointFile, sanitized
from srgan_dist.utils.jsonl import Journal
from tests.tracking.conftest import times


def test_what_was_put_is_there_for_the_next_process_in_order(tmp_path: Path):
    box = Outbox(tmp_path / "box", 1 << 20)
    box.put("image", {"key": "cat"}, b"pixels")
    box.put("tags", {"values": {}})

    again = Outbox(tmp_path / "box", 1 << 20)
    first, second = again.items()

    assert (first.kind, first.content, first.image.read_bytes()) == ("image", {"key": "cat"}, b"pixels")
    assert second.number < again.first_new
    again.done(first)
    again.done(second)
    assert not list((tmp_path / "box").iterdir())


def test_beyond_its_limit_the_oldest_images_go_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    logging.getLogger("srgan_dist").propagate = True
    box = Outbox(tmp_path / "box", 100)
    box.put("params", {"values": {}})
    for step in range(10):
        box.put("image", {"step": step}, b"x" * 40)

    assert [i.content.get("step") for i in box.items()] == [None, 8, 9]
    assert times(caplog, "dropping the oldest") == 1


def test_a_full_disk_costs_one_warning_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    logging.getLogger("srgan_dist").propagate = True
    file = tmp_path / "lines.jsonl"
    os.symlink("/dev/full", file)
    journal = Journal(file)

    for step in range(5):
        journal.append({"step": step})
    file.unlink()  # space again
    journal.append({"step": 5})

    assert file.read_text().splitlines() == [f'{{"step": {n}}}' for n in range(6)]
    assert times(caplog, "No space left") == 1


def test_each_step_of_a_number_is_read_once_and_half_a_line_waits(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(
        '{"step": 1, "time": 2.5, "a": 1.0}\n{"step": 2, "time": 3, "a": 2.0, "b (x)": NaN}\nnonsense\n{"step": 3, "ti'
    )
    points = PointFile(file)

    found, offset = points.read({"a": 1})

    assert [(p.name, p.step, p.time) for p in found] == [("a", 2, 3000), ("b _x_", 2, 3000)]
    assert file.read_text()[offset:] == '{"step": 3, "ti'


def test_a_batch_is_never_larger_than_mlflow_takes(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    numbers = ", ".join(f'"n{i}": 0.5' for i in range(7))
    file.write_text("".join(f'{{"step": {s}, "time": 1, {numbers}}}\n' for s in range(400)))
    points, steps = PointFile(file), list[int]()

    while True:
        found, offset = points.read({})
        if offset == points.offset:
            break
        assert 0 < len(found) <= BATCH
        steps += [p.step for p in found]
        points.offset = offset

    assert steps == [s for s in range(400) for _ in range(7)]


def test_names_are_made_such_that_mlflow_takes_them():
    assert sanitized("final/SRGAN (a:b) <ü>") == "final/SRGAN _a_b_ ___"


def test_what_was_sent_is_sent_again_in_its_order_before_what_is_new(tmp_path: Path):
    box = Outbox(tmp_path / "box", 1 << 20)
    box.put("params", {"values": {"a": "1"}})
    box.put("image", {"key": "cat"}, b"pixels")
    for item in box.items():
        box.sent(item)
    box = Outbox(tmp_path / "box", 1 << 20)
    box.keep("params", {"values": {"other": "2"}})  # there is one
    box.put("status", {})
    assert [item.kind for item in box.items()] == ["status"]

    box.send_again()

    assert [item.kind for item in box.items()] == ["params", "image", "status"]
    assert box.items()[0].content == {"values": {"a": "1"}}
    assert box.items()[1].image.read_bytes() == b"pixels"


def test_sent_images_take_limited_room(tmp_path: Path):
    box = Outbox(tmp_path / "box", 100)
    for step in range(5):
        box.put("image", {"step": step}, b"x" * 40)
        box.sent(box.items()[0])

    box.send_again()

    assert [item.content["step"] for item in box.items()] == [3, 4]
