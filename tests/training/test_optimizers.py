import copy
import subprocess
import sys

import pytest
import torch

from srgan_dist.training import optimizers
from srgan_dist.training.optimizers import AdamConfig, AdamWConfig, QuickStartAdam
from tests.conftest import ROOT


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 1, 3))


def learn(net: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, skip: bool = False) -> None:
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad(set_to_none=True)
    net(images).square().mean().backward()
    optimizer.param_groups[0]["lr"] = 1e-2 / (step + 1)
    if skip:
        optimizer.found_inf = torch.ones(())
    optimizer.step()
    if skip:
        del optimizer.found_inf


def both(betas: tuple[float, float]) -> tuple[tuple[torch.nn.Module, torch.optim.Optimizer], ...]:
    ours, theirs = network(), network()
    return (ours, AdamConfig(betas=betas).build(ours.parameters())), (
        theirs, torch.optim.Adam(theirs.parameters(), betas=betas, fused=True)
    )  # fmt: skip


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.99)])
def test_it_is_torchs_own_to_the_last_bit_also_where_a_step_is_skipped(betas: tuple[float, float]):
    pairs = both(betas)

    for step in range(6):
        for net, optimizer in pairs:
            learn(net, optimizer, step, skip=step == 3)

    (one, ours), (other, theirs) = pairs
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    for mine, wanted in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert all(torch.equal(mine[name], wanted[name]) for name in wanted)


def test_its_state_is_saved_and_restored_as_torchs_own():
    (net, ours), (_, theirs) = both((0.9, 0.999))
    learn(net, ours, 0)
    saved = copy.deepcopy(ours.state_dict())

    theirs.load_state_dict(saved)
    again = AdamConfig().build(network().parameters())
    again.load_state_dict(saved)

    for loaded in (theirs, again):
        assert loaded.state_dict()["param_groups"] == saved["param_groups"]
        assert all(
            torch.equal(t, saved["state"][n][name])
            for n, state in loaded.state_dict()["state"].items()
            for name, t in state.items()
        )


@pytest.mark.slow
def test_a_step_does_not_load_the_compiler():
    code = (
        "import sys, torch; from srgan_dist.training.optimizers import AdamConfig; "
        "p = torch.nn.Parameter(torch.ones(2));"
        "o = AdamConfig().build([p]); p.grad = torch.ones(2); o.step(); o.zero_grad(); o.state_dict();"
        "sys.exit('torch._dynamo' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_torchs_internals_its_own_adam_is_taken(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(AdamConfig().build(network().parameters()), QuickStartAdam)
    monkeypatch.setattr(optimizers, "_KERNELS", ("_a_kernel_of_another_version_",))

    fallback = AdamConfig(betas=(0.5, 0.9)).build(network().parameters())

    assert type(fallback) is torch.optim.Adam
    assert (fallback.defaults["betas"], fallback.defaults["fused"]) == ((0.5, 0.9), True)


def test_adamw_shrinks_weights_by_itself():
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = AdamWConfig(weight_decay=0.5).build(net.parameters())
    optimizer.param_groups[0]["lr"] = 0.1
    for p in net.parameters():
        p.grad = torch.zeros_like(p)

    optimizer.step()

    assert all(torch.allclose(p, 0.95 * b) for p, b in zip(net.parameters(), before, strict=True))


def test_adamw_leaves_the_weights_alone_where_a_step_is_skipped():
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = AdamWConfig().build(net.parameters())

    learn(net, optimizer, 0, skip=True)

    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
