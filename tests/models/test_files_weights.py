import pytest
import torch

from srgan_dist.models import CompactConfig, SpandrelConfig
from srgan_dist.models.files import load_weights, read_weights, save_generator
from srgan_dist.runs import checkpoint

CONFIG = CompactConfig(convs=1, channels=4)


def network(seed):
    torch.manual_seed(seed)
    return CONFIG.build(2)


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_weights_come_from_an_exported_file_a_run_a_checkpoint_and_a_pth(tmp_path):
    source = network(1)
    exported = tmp_path / "run" / "models" / "gan.safetensors"
    save_generator(exported, source, CONFIG, {"label": "x", "scale": 2, "degradation": "given"})
    state = {"networks": {"networks": [], "ema": {"network": source.state_dict(), "updates": 3}}}
    saved = checkpoint.save(tmp_path / "checkpoints", 7, state, keep=1, best=None)
    torch.save({"params": source.state_dict()}, tmp_path / "published.pth")

    for where in (exported, tmp_path / "run", saved, tmp_path / "published.pth"):
        target = network(2)
        load_weights(target, where)
        assert same(source, target), where


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of weights"),
        (b"not a file of weights", "not a file of weights"),
        (None, "no such model"),
    ],
)
def test_what_is_no_weights_file_is_refused_by_name(tmp_path, content, message):
    file = tmp_path / "model.pth"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ValueError, match=f"model.pth: .*{message}"):
        read_weights(file)


def test_a_corrupt_safetensors_file_is_refused_by_name(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"12345678\xff\x00\xff901234567890")

    with pytest.raises(ValueError, match=r"model.safetensors: not a safetensors file"):
        read_weights(tmp_path / "model.safetensors")


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path):
    class Code:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"params": Code()}, tmp_path / "model.pth")

    with pytest.raises(ValueError, match=r"not a file of weights \(it contains code, .*exec, which is not run\)$"):
        read_weights(tmp_path / "model.pth")


def test_a_spandrel_file_becomes_a_trainable_generator_at_its_own_scale(tmp_path):
    torch.save(network(1).state_dict(), tmp_path / "compact.pth")
    config = SpandrelConfig(file=tmp_path / "compact.pth")

    generator = config.build(2)

    generator(torch.rand(1, 3, 5, 6)).mean().backward()
    assert generator.training
    assert all(p.grad is not None for p in generator.parameters())
    assert same(generator, network(1))
    with pytest.raises(ValueError, match="at x2, but scale=4"):
        config.build(4)


def test_a_spandrel_file_that_is_no_model_is_refused_by_name(tmp_path):
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "strange.pth")

    with pytest.raises(ValueError, match=r"strange.pth: spandrel does not support"):
        SpandrelConfig(file=tmp_path / "strange.pth").build(4)
    with pytest.raises(ValueError, match="no such file"):
        SpandrelConfig(file=tmp_path / "missing.pth").build(4)
