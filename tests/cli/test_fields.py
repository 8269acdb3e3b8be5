import subprocess
import sys

from srgan_dist.cli.fields import config_fields
from srgan_dist.training.preset_names import SUMMARIES


def test_every_field_of_the_configuration_has_a_help_text():
    assert not [f.name for f in config_fields() if not f.help]


def test_the_defaults_are_the_presets():
    found = {(f.name, f.choice): f.default for f in config_fields("esrgan-x4")}

    assert found["data.hr_crop", ""] == 128
    assert found["generator.type", ""] == "rrdbnet"
    assert found["generator.blocks", "generator.type=rrdbnet"] == 23
    assert found["generator.blocks", "generator.type=srresnet"] == 16


def test_every_preset_has_the_same_fields():
    names = {f.name for f in config_fields()}

    assert all({f.name for f in config_fields(preset)} == names for preset in SUMMARIES)


def test_the_fields_need_no_torch():
    code = (
        "import sys; from srgan_dist.cli.fields import config_fields\n"
        "assert len(config_fields('quickstart')) > 100\n"
        "sys.exit(any(name.split('.')[0] == 'torch' for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
