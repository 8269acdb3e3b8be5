import json
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from srgan_dist.tracking import sender as module
from srgan_dist.tracking.outbox import Item, Outbox
from srgan_dist.tracking.points import BATCH, Point
from srgan_dist.tracking.sender import Sender
from srgan_dist.utils.jsonl import Journal
from tests.tracking.conftest import times

OUTAGE = OSError("API request to http://127.0.0.1/api failed with exception refused")


class RecordedDelivery:
    """Records what it is given, and raises what `fail` returns for an item."""

    def __init__(self, sender: Sender) -> None:
        self.points_sent: list[Point] = []
        self.items: list[tuple[str, bool]] = []
        self.fail: Callable[[str], Exception | None] = lambda _: None
        self._sender = sender

    def points(self, points: list[Point]) -> None:
        if error := self.fail("points"):
            raise error
        self.points_sent += points
        self._sender.state_file.now.sent.update({p.name: p.step for p in points})

    def item(self, item: Item, retry: bool) -> None:
        self.items.append((str(item.content.get("key")), retry))
        if error := self.fail(str(item.content.get("key"))):
            raise error


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return make(tmp_path)


def make(folder: Path) -> Sender:
    made = Sender(
        folder, "sqlite:///unused.db", "test", Outbox(folder / "outbox", 1 << 20), Journal(folder / "j" / "j")
    )
    delivery: Any = RecordedDelivery(made)
    made._delivery = delivery
    return made


def delivery(sender: Sender) -> Any:
    return sender._delivery


def attempt(sender: Sender) -> bool:
    with ExitStack() as stack:
        sender._locked = True
        return sender._attempt(stack)


def keys(sender: Sender) -> list[str]:
    return [item.content["key"] for item in sender._outbox.items()]


def test_items_are_sent_in_order_after_the_metrics_and_then_removed(sender: Sender, tmp_path: Path):
    for key in "abc":
        sender._outbox.put("tags", {"key": key})
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "time": 1, "loss": 2}\n')

    before = sender.waiting()
    sender.send()

    assert before
    assert delivery(sender).items == [("a", False), ("b", False), ("c", False)]
    assert [(p.name, p.step, p.value) for p in delivery(sender).points_sent] == [("loss", 1, 2.0)]
    assert keys(sender) == []
    assert sender.points == 1
    assert not sender.waiting()


def test_unsent_metrics_alone_are_waiting(sender: Sender, tmp_path: Path):
    before = sender.waiting()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "time": 1, "loss": 2}\n')

    assert not before
    assert sender.waiting()


def test_more_metrics_than_a_request_takes_are_sent_in_several(sender: Sender, tmp_path: Path):
    lines = [f'{{"step": {n}, "time": 1, "loss": 2}}\n' for n in range(BATCH + 5)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))

    sender.send()

    assert [p.step for p in delivery(sender).points_sent] == list(range(BATCH + 5))


def test_an_item_of_an_earlier_session_may_have_arrived_already(tmp_path: Path):
    make(tmp_path)._outbox.put("tags", {"key": "old"})
    again = make(tmp_path)
    again._outbox.put("tags", {"key": "new"})

    again.send()

    assert delivery(again).items == [("old", True), ("new", False)]


def test_an_item_that_fails_by_itself_does_not_hold_up_the_others_and_is_tried_again_after_longer_and_longer_pauses(
    sender: Sender, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for key in ("bad", "good"):
        sender._outbox.put("tags", {"key": key})
    delivery(sender).fail = lambda key: OSError("odd") if key == "bad" else None

    tried = list[float]()
    for _ in range(100):
        sender.send()
        if len(delivery(sender).items) - 1 > len(tried):
            tried.append(clock.now - 1000)
        clock.now += 5

    assert delivery(sender).items[:3] == [("bad", False), ("good", False), ("bad", True)]
    assert tried == [0, 20, 60, 140, 300]
    assert keys(sender) == ["bad"]
    assert times(caplog, "could not send tags bad") == 1


def test_an_outage_is_nobodys_fault_and_ends_the_round(sender: Sender):
    for key in ("first", "second"):
        sender._outbox.put("tags", {"key": key})
    delivery(sender).fail = lambda _: OUTAGE

    for _ in range(5):
        with pytest.raises(OSError, match="refused"):
            sender.send()
    delivery(sender).fail = lambda _: None
    sender.send()

    assert [key for key, _ in delivery(sender).items] == ["first"] * 6 + ["second"]
    assert keys(sender) == []


@pytest.mark.parametrize(
    ("error", "dropped"),
    [
        (ValueError("not a number"), True), (TypeError("None"), True),
        (SimpleNamespace(status_code=400), True), (SimpleNamespace(status_code=404), True),
        (SimpleNamespace(status_code=401), False), (SimpleNamespace(status_code=403), False),
        (SimpleNamespace(status_code=408), False), (SimpleNamespace(status_code=429), False),
        (SimpleNamespace(status_code=500), False), ("INVALID_PARAMETER_VALUE", True),
        ("TEMPORARILY_UNAVAILABLE", False),
    ],
)  # fmt: skip
def test_what_the_server_rejects_for_good_is_dropped_and_everything_else_is_kept(
    error: object, dropped: bool, sender: Sender
):
    sender._outbox.put("tags", {"key": "a"})
    raised = error if isinstance(error, Exception) else OSError("odd")
    if isinstance(error, SimpleNamespace):
        raised.response = error  # pyright: ignore[reportAttributeAccessIssue]
    elif isinstance(error, str):
        raised.error_code = error  # pyright: ignore[reportAttributeAccessIssue]
    delivery(sender).fail = lambda _: raised

    sender.send()

    assert keys(sender) == ([] if dropped else ["a"])


def test_a_client_error_in_the_text_of_a_failed_request_is_not_an_outage():
    failed = "API request to http://x failed with error code "

    assert module._is_outage(OSError(failed + "503"))
    assert not module._is_outage(OSError(failed + "404"))
    assert not module._is_outage(OSError("odd"))


def test_an_outage_is_reported_once_at_its_start_and_once_at_its_end(
    sender: Sender, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("srgan_dist"), "propagate", True)
    caplog.set_level(logging.INFO, "srgan_dist")
    sender._outbox.put("tags", {"key": "a"})
    delivery(sender).fail = lambda _: OUTAGE

    failed = [attempt(sender) for _ in range(3)]
    outage = sender.outage
    delivery(sender).fail = lambda _: None
    succeeded = [attempt(sender) for _ in range(3)]

    assert (failed, succeeded) == ([False] * 3, [True] * 3)
    assert "refused" in outage
    assert sender.outage == ""
    assert times(caplog, "cannot be reached") == 1
    assert times(caplog, "reachable again") == 1


def test_a_run_that_the_server_no_longer_has_is_looked_for_again(sender: Sender, tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "time": 1, "loss": 2}\n')
    gone = OSError("Run with id=1 not found")
    gone.error_code = "RESOURCE_DOES_NOT_EXIST"  # pyright: ignore[reportAttributeAccessIssue]
    delivery(sender).fail = lambda _: gone

    assert not attempt(sender)

    assert sender._delivery is None  # the next round opens the run, or makes it anew


def test_the_answer_of_a_login_page_is_an_outage():
    assert module._is_outage(json.JSONDecodeError("Expecting value", "<html>", 0))


def test_the_pause_doubles_up_to_a_minute_while_the_server_is_gone_and_is_short_again_afterwards(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sender, "_start_system_metrics", lambda: None)
    results, pauses = iter([True, False, False, False, False, True, True]), list[float]()
    monkeypatch.setattr(sender, "_attempt", lambda _: next(results))

    def wait(pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 6:
            sender.close()

    monkeypatch.setattr(sender, "_wake", SimpleNamespace(wait=wait, set=lambda: None))
    sender.run()

    assert pauses == [10, 20, 40, 60, 60, 10, 0]


def test_what_is_logged_during_the_last_round_before_the_end_gets_a_round_of_its_own(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sender, "_start_system_metrics", lambda: None)
    sender._outbox.put("tags", {"key": "a"})

    def log_more_and_close(key: str) -> None:
        if key == "a":
            sender._outbox.put("tags", {"key": "b"})
            sender.close()

    delivery(sender).fail = log_more_and_close
    thread = threading.Thread(target=sender.run)
    thread.start()
    thread.join(60)

    assert [key for key, _ in delivery(sender).items] == ["a", "b"]


def test_an_abandoned_sender_stops_between_two_items(sender: Sender):
    for key in "abc":
        sender._outbox.put("tags", {"key": key})
    delivery(sender).fail = lambda _: sender.abandon()

    sender.send()

    assert keys(sender) == ["b", "c"]


def test_a_run_that_another_process_sends_is_left_to_it(sender: Sender, tmp_path: Path):
    sender._outbox.put("tags", {"key": "a"})
    (tmp_path / "j").mkdir(exist_ok=True)

    with FileLock(tmp_path / "j" / "lock"), ExitStack() as stack:
        sent = sender._attempt(stack)

    assert not sent
    assert "another process" in sender.outage
    assert delivery(sender).items == []
