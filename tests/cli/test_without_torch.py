import subprocess
import sys


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_configuration_is_imported_with_a_placeholder_and_later_with_torch():
    ran = run(
        "import sys\n"
        "from srgan_dist.cli.without_torch import without_torch\n"
        "with without_torch():\n"
        "    from srgan_dist.training.presets import preset\n"
        "    config = preset('real-esrgan-x4')\n"
        "assert config.data.hr_crop == 256 and 'torch' not in sys.modules\n"
        "from srgan_dist.models import RRDBNetConfig\n"
        "import torch\n"
        "assert isinstance(RRDBNetConfig(blocks=1).build(4), torch.nn.Module)\n"
    )

    assert ran.returncode == 0, ran.stderr


def test_nothing_that_was_imported_keeps_a_placeholder():
    ran = run(
        "import sys\n"
        "from srgan_dist.cli.without_torch import _uses_placeholders, without_torch\n"
        "with without_torch():\n"
        "    import srgan_dist.training.presets\n"
        "    assert any(map(_uses_placeholders, list(sys.modules.values())))\n"
        "assert not any(map(_uses_placeholders, list(sys.modules.values())))\n"
        "assert not hasattr(sys.modules['srgan_dist'], 'training')\n"
    )

    assert ran.returncode == 0, ran.stderr


def test_torch_stays_where_it_is_loaded():
    ran = run(
        "import torch\n"
        "from srgan_dist.cli.without_torch import without_torch\n"
        "with without_torch():\n"
        "    from srgan_dist.training.losses import nn\n"
        "assert nn is torch.nn\n"
    )

    assert ran.returncode == 0, ran.stderr
