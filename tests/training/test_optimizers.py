import copy
import subprocess
import sys

import pytest
import torch

from srgan_dist.training.optimizers import QuickStartAdam
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
    return (ours, QuickStartAdam(ours.parameters(), betas=betas, fused=True)), (
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
    again = QuickStartAdam(network().parameters(), betas=(0.9, 0.999), fused=True)
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
        "import sys, torch; from srgan_dist.training.optimizers import QuickStartAdam; "
        "p = torch.nn.Parameter(torch.ones(2));"
        "o = QuickStartAdam([p], fused=True); p.grad = torch.ones(2); o.step(); o.zero_grad(); o.state_dict();"
        "sys.exit('torch._dynamo' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
