"""The runner of `benchmarks/gpu.py`; its parts are run by the benchmark itself."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from tests.conftest import ROOT


def options(out: Path) -> argparse.Namespace:
    return argparse.Namespace(device="cpu", quick=True, out=out)


@pytest.mark.slow
def test_a_part_runs_alone_and_reports_as_text_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--device", "cpu", "--quick", "--parts", "overflow", "--out", str(tmp_path)]
    )

    assert gpu.main() == 0

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["parts"]["overflow"]["failed"] == ""
    assert report["parts"]["overflow"]["numbers"]["wrong"] == 0
    assert report["about"]["torch"]
    text = (tmp_path / "report.md").read_text()
    assert "## Overflow in fp16" in text
    assert "weights are finite" in text


def test_a_part_that_fails_is_reported_with_what_it_had_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import sys; open(sys.argv[-2] + '/.batch.json', 'w').write('{\"text\": \"half\"}'); sys.exit('no')"
    )
    monkeypatch.setattr(gpu, "__file__", str(broken))

    failed = gpu.run("batch", options(tmp_path), 60)
    gpu.write(tmp_path, {}, {"batch": failed, "data": gpu.run("data", options(tmp_path), 1)})

    assert failed["failed"] == "no"
    assert failed["text"] == "half"
    text = (tmp_path / "report.md").read_text()
    assert text.index("half") < text.index("no\n")
    assert "no time left" in text


def test_a_part_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    endless = tmp_path / "endless.py"
    endless.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(gpu, "__file__", str(endless))

    assert "longer than 5 s" in gpu.run("batch", options(tmp_path), 5)["failed"]


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 100, 4096])
def test_the_largest_batch_is_found_to_an_eighth(limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from benchmarks.gpu_steps import bisected

    found = bisected(lambda batch: batch <= limit, 4096)

    assert limit - max(1, limit // 8) <= found <= limit
    assert bisected(lambda _: False, 4096) == 0
    assert bisected(lambda _: True, 64) == 64
