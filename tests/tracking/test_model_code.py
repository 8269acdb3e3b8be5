import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from srgan_dist.tracking.model_logging import save_model

LOAD = """
import sys
sys.path[:] = [p for p in sys.path if p and "srgan" not in p]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
import importlib.util
assert importlib.util.find_spec("srgan_dist") is None, importlib.util.find_spec("srgan_dist")
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(np.zeros((1, 8, 8, 3), np.uint8)).shape)
import srgan_dist
print(srgan_dist.__file__)
"""


@pytest.mark.slow
def test_a_logged_model_brings_its_code_and_asks_for_no_package_of_our_name(tmp_path: Path):
    config = SRResNetConfig(blocks=1, channels=4, interpolated_skip=True)
    torch.manual_seed(0)
    file = tmp_path / "srresnet.safetensors"
    save_generator(file, config.build(2), config, {"label": "SRResNet", "scale": 2, "degradation": "given"})
    model = tmp_path / "model"

    save_model(file, model)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LOAD, str(model)],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip

    assert "srgan" not in (model / "requirements.txt").read_text()
    assert "torch==" in (model / "requirements.txt").read_text()
    assert len(list((model / "code").rglob("*.py"))) < 70
    assert ran.stdout.splitlines() == ["(1, 16, 16, 3)", str(model / "code" / "srgan_dist" / "__init__.py")], ran.stderr
