import json
from pathlib import Path

import pytest

from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main
from tests.conftest import PACE, TINY

SHORT = ("--pretrain.steps=4", "--adversarial.steps=4", "--validation.every=4", "--tracking.enabled=False")


@pytest.mark.slow
def test_a_run_is_given_again_bit_for_bit_and_what_differs_is_said(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert train_main(["quickstart", "--data.shards", str(shards), *TINY, *SHORT, "--run-dir=run", "--seed=5"]) == 0
    capsys.readouterr()

    assert main(["repro", "run", "--run", "--yes"]) == 0

    said = capsys.readouterr().out
    assert "seed 5" in said
    assert f"data {shards}: manifest " in said
    assert said.rstrip().endswith(("nothing", "uncommitted changes here"))

    def numbers(run: str) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in n.items() if k not in PACE} for n in lines]

    assert numbers("run") == numbers("run-again")

    facts = json.loads(Path("run", "environment.json").read_text())
    facts["sessions"][0]["versions"]["torch"] = "1.0"
    facts["sessions"][0]["data"][str(shards)] = "0" * 64
    facts["sessions"][0]["world_size"] = 1000
    Path("run", "environment.json").write_text(json.dumps(facts))
    assert main(["repro", "run"]) == 0
    said = capsys.readouterr().out
    assert "torch: 1.0 in the run, " in said
    assert f"data {shards}: {'0' * 64} in the run, " in said
    assert "processes: 1000 in the run" in said
    assert "--num_processes=1000" in said
