import pytest
import torch
from torch import Tensor, nn

from srgan_dist.data.reader import Pair
from srgan_dist.losses import ContentLoss, VanillaGAN, Weights
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.steps import Losses, Player, gan_step, pretrain_step


def player(network: nn.Module, learning_rate: float) -> Player:
    return Player(network, network, torch.optim.SGD(network.parameters(), lr=learning_rate))


def players(g_learning_rate: float, d_learning_rate: float) -> tuple[Player, Player]:
    torch.manual_seed(0)
    generator = SRResNetConfig(blocks=1, channels=4).build(2)
    discriminator = VGGDiscriminatorConfig(channels=2, dense=4).build(32)
    return player(generator, g_learning_rate), player(discriminator, d_learning_rate)


def batch() -> Pair:
    rng = torch.Generator().manual_seed(1)
    return Pair(torch.rand(2, 3, 16, 16, generator=rng), torch.rand(2, 3, 32, 32, generator=rng))


def losses(**weights: float) -> Losses:
    torch.manual_seed(2)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    return Losses("mse", ContentLoss(features), VanillaGAN(), Weights(**weights))


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_pretraining_moves_the_generator_downhill():
    g, _ = players(0.1, 0.0)

    first = pretrain_step(g, "mse", batch(), torch.Tensor.backward)["pixel"]
    for _ in range(20):
        last = pretrain_step(g, "mse", batch(), torch.Tensor.backward)["pixel"]

    assert last < first


def test_generator_update_leaves_the_discriminator_alone():
    g, d = players(g_learning_rate=0.1, d_learning_rate=0.0)
    before = flat(d.net)

    gan_step(g, d, losses(), batch(), torch.Tensor.backward)

    assert torch.equal(flat(d.net), before)
    assert all(p.requires_grad for p in d.net.parameters())


def test_discriminator_update_leaves_the_generator_alone():
    g, d = players(g_learning_rate=0.0, d_learning_rate=0.1)
    g_before, d_before = flat(g.net), flat(d.net)

    gan_step(g, d, losses(), batch(), torch.Tensor.backward)

    assert torch.equal(flat(g.net), g_before)
    assert not torch.equal(flat(d.net), d_before)


@pytest.mark.parametrize("term", ["pixel", "content", "adversarial"])
def test_every_term_moves_the_generator_and_only_the_generator(term: str):
    nothing = {"pixel": 0.0, "content": 0.0, "adversarial": 0.0}
    g, d = players(g_learning_rate=0.1, d_learning_rate=0.0)
    terms = losses(**(nothing | {term: 1.0}))
    before, vgg, judge = flat(g.net), flat(terms.content), flat(d.net)

    gan_step(g, d, terms, batch(), torch.Tensor.backward)

    assert not torch.equal(flat(g.net), before)
    assert torch.equal(flat(terms.content), vgg)
    assert torch.equal(flat(d.net), judge)


def test_without_any_weight_the_generator_stays():
    g, d = players(g_learning_rate=0.1, d_learning_rate=0.1)
    before = flat(g.net)

    gan_step(g, d, losses(pixel=0.0, content=0.0, adversarial=0.0), batch(), torch.Tensor.backward)

    assert torch.equal(flat(g.net), before)


def test_the_discriminator_does_not_learn_from_the_generators_step():
    g, d = players(g_learning_rate=0.1, d_learning_rate=0.1)
    alone_g, alone_d = players(g_learning_rate=0.0, d_learning_rate=0.1)

    gan_step(g, d, losses(adversarial=10.0), batch(), torch.Tensor.backward)
    gan_step(alone_g, alone_d, losses(pixel=0.0, content=0.0, adversarial=0.0), batch(), torch.Tensor.backward)

    assert torch.equal(flat(d.net), flat(alone_d.net))


def test_terms_are_unweighted_and_detached():
    g, d = players(0.0, 0.0)

    terms = gan_step(g, d, losses(pixel=0.0), batch(), torch.Tensor.backward)

    assert terms["pixel"] > 0
    assert not any(t.requires_grad for t in terms.values())
    assert set(terms) == {"pixel", "content", "adversarial", "discriminator", "real_logits", "fake_logits"}
