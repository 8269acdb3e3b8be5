"""A real MLflow server on loopback, a socket that never answers, and a training of seconds."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from srgan_dist.data.config import DataConfig
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.tracking import sender
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.presets import preset


class Server:
    """An MLflow process that can be stopped and started again at the same address."""

    def __init__(self, folder: Path, *command: str) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = folder / "mlflow.db"
        self._folder, self._command, self._process = folder, command, None

    def start(self) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        if self._command[0] == "server":
            env.pop("MLFLOW_TRACKING_URI", None)
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"  # `mlflow models serve` calls uvicorn
        words = [sys.executable, "-m", "mlflow", *self._command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(words, cwd=self._folder, env=env, start_new_session=True, **quiet)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    made = Server(folder, "server", "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that takes every connection and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def tiny(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """Eight steps of each phase, all of them logged, in an empty working directory with a database of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sender, "INTERVAL", 0.1)
    config = preset("quickstart")
    return replace(
        config,
        run_dir=tmp_path / "runs" / "mine",
        data=DataConfig(shards=(str(shards),), hr_crop=32, batch=2),
        generator=SRResNetConfig(blocks=1, channels=4, interpolated_skip=True),
        discriminator=VGGDiscriminatorConfig(channels=2, dense=4),
        pretrain=replace(config.pretrain, steps=8),
        adversarial=replace(config.adversarial, steps=8),
        validation=replace(config.validation, every=4, side=48, images=1),
        checkpoint=replace(config.checkpoint, every=4),
        tracking=replace(config.tracking, experiment=tmp_path.name),
        log_every=1,
        threads=1,
    )


def times(caplog: pytest.LogCaptureFixture, phrase: str) -> int:
    """How often the log has a phrase; where two handlers saw a record, it counts once."""
    return len({id(record) for record in caplog.records if phrase in record.getMessage()})
