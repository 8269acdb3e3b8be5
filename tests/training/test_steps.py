from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from srgan_dist.data.batch import Pair
from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.training.artifact_loss import ArtifactLoss
from srgan_dist.training.losses import ContentConfig, ContentLoss, RelativisticGAN, VanillaGAN, Weights, pixel_loss
from srgan_dist.training.steps import Losses, Trainable, discriminator_step, gan_step, pretrain_step


def trainable(network: nn.Module, learning_rate: float) -> Trainable:
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, fused=True)
    return Trainable(net=network, raw=network, optimizer=optimizer, optimizer_step=optimizer.step)


def networks(g_learning_rate: float, d_learning_rate: float) -> tuple[Trainable, Trainable]:
    torch.manual_seed(0)
    generator = SRResNetConfig(blocks=1, channels=4).build(2)
    discriminator = VGGDiscriminatorConfig(channels=2, dense=4).build(32)
    return trainable(generator, g_learning_rate), trainable(discriminator, d_learning_rate)


def batch() -> Pair:
    rng = torch.Generator().manual_seed(1)
    return Pair(torch.rand(2, 3, 16, 16, generator=rng), torch.rand(2, 3, 32, 32, generator=rng))


class OneLayer(nn.Module):
    """Stands in for VGG19: one feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layer(images)]


def losses(**weights: float) -> Losses:
    torch.manual_seed(2)
    return Losses("mse", ContentLoss(OneLayer(), ContentConfig()), VanillaGAN(), Weights(**weights))


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_pretraining_moves_the_generator_downhill():
    g, _ = networks(0.1, 0.0)

    first = pretrain_step(g, "mse", [batch()], torch.Tensor.backward)["pixel"]
    for _ in range(20):
        last = pretrain_step(g, "mse", [batch()], torch.Tensor.backward)["pixel"]

    assert last < first


def test_generator_update_leaves_the_discriminator_alone():
    g, d = networks(g_learning_rate=0.1, d_learning_rate=0.0)
    before = flat(d.net)

    gan_step(g, d, losses(), [batch()], torch.Tensor.backward)

    assert torch.equal(flat(d.net), before)
    assert all(p.requires_grad for p in d.net.parameters())


def test_discriminator_update_leaves_the_generator_alone():
    g, d = networks(g_learning_rate=0.0, d_learning_rate=0.1)
    g_before, d_before = flat(g.net), flat(d.net)

    gan_step(g, d, losses(), [batch()], torch.Tensor.backward)

    assert torch.equal(flat(g.net), g_before)
    assert not torch.equal(flat(d.net), d_before)


@pytest.mark.parametrize("term", ["pixel", "content", "adversarial"])
def test_every_term_moves_the_generator_and_only_the_generator(term: str):
    nothing = {"pixel": 0.0, "content": 0.0, "adversarial": 0.0}
    g, d = networks(g_learning_rate=0.1, d_learning_rate=0.0)
    terms = losses(**(nothing | {term: 1.0}))
    before, vgg, judge = flat(g.net), flat(terms.content), flat(d.net)

    gan_step(g, d, terms, [batch()], torch.Tensor.backward)

    assert not torch.equal(flat(g.net), before)
    assert torch.equal(flat(terms.content), vgg)
    assert torch.equal(flat(d.net), judge)


def test_without_any_weight_the_generator_stays():
    g, d = networks(g_learning_rate=0.1, d_learning_rate=0.1)
    before = flat(g.net)

    gan_step(g, d, losses(pixel=0.0, content=0.0, adversarial=0.0), [batch()], torch.Tensor.backward)

    assert torch.equal(flat(g.net), before)


def test_a_discriminator_that_learns_alone_learns_as_beside_a_generator_that_stays():
    g, d = networks(g_learning_rate=0.1, d_learning_rate=0.1)
    still, beside = networks(g_learning_rate=0.0, d_learning_rate=0.1)
    before = flat(g.net)

    alone = discriminator_step(g, d, losses(), [batch()], torch.Tensor.backward)
    both = gan_step(still, beside, losses(), [batch()], torch.Tensor.backward)

    assert torch.equal(flat(g.net), before)
    assert torch.equal(flat(d.net), flat(beside.net))
    assert alone.keys() == {"discriminator", "real_logits", "fake_logits", "accuracy", "discriminator_norm"}
    assert all(torch.equal(value, both[name]) for name, value in alone.items())


def test_the_discriminator_does_not_learn_from_the_generators_step():
    g, d = networks(g_learning_rate=0.1, d_learning_rate=0.1)
    alone_g, alone_d = networks(g_learning_rate=0.0, d_learning_rate=0.1)

    gan_step(g, d, losses(adversarial=10.0), [batch()], torch.Tensor.backward)
    gan_step(alone_g, alone_d, losses(pixel=0.0, content=0.0, adversarial=0.0), [batch()], torch.Tensor.backward)

    assert torch.equal(flat(d.net), flat(alone_d.net))


def test_terms_are_unweighted_and_detached():
    g, d = networks(0.0, 0.0)

    terms = gan_step(g, d, losses(pixel=0.0), [batch()], torch.Tensor.backward)

    assert terms["pixel"] > 0
    assert not any(t.requires_grad for t in terms.values())
    assert terms["pixel"] == pixel_loss("mse", g.net(batch().lr), batch().hr)


def bare_networks(d_learning_rate: float, g_learning_rate: float = 0.1) -> tuple[Trainable, Trainable]:
    """Without BatchNorm, in double precision: parts of a batch are then exactly a batch."""
    torch.manual_seed(0)
    generator = SRResNetConfig(blocks=1, channels=4, batch_norm=False).build(2).double()
    discriminator = VGGDiscriminatorConfig(channels=2, dense=4, batch_norm=False).build(32).double()
    return trainable(generator, g_learning_rate), trainable(discriminator, d_learning_rate)


def halves(whole: Pair) -> list[Pair]:
    return [Pair(whole.lr[i : i + 1], whole.hr[i : i + 1]) for i in range(2)]


def test_parts_of_a_batch_give_the_step_of_the_batch():
    whole = Pair(batch().lr.double(), batch().hr.double())
    content = ContentLoss(OneLayer().double(), ContentConfig())
    terms = Losses("mse", content, VanillaGAN(), Weights(pixel=1.0, adversarial=0.1))
    at_once, in_parts = bare_networks(0.1), bare_networks(0.1)

    for _ in range(3):
        gan_step(*at_once, terms, [whole], torch.Tensor.backward)
        gan_step(*in_parts, terms, halves(whole), torch.Tensor.backward)

    for one, other in zip(at_once, in_parts, strict=True):
        torch.testing.assert_close(flat(one.net), flat(other.net), rtol=0, atol=1e-7)  # losses are float32


def test_metrics_of_parts_are_their_means_and_their_gradient_is_the_batchs():
    whole = Pair(batch().lr.double(), batch().hr.double())
    terms = Losses("mse", ContentLoss(OneLayer().double(), ContentConfig()), VanillaGAN(), Weights(pixel=1.0))
    at_once, in_parts = bare_networks(0.0, 0.0), bare_networks(0.0, 0.0)

    wanted = gan_step(*at_once, terms, [whole], torch.Tensor.backward)
    got = gan_step(*in_parts, terms, halves(whole), torch.Tensor.backward)

    assert got.keys() == wanted.keys()
    for name, value in wanted.items():  # losses are float32
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-7, check_dtype=False, msg=name)
    for one, other in zip(at_once, in_parts, strict=True):
        for p, q in zip(one.parameters, other.parameters, strict=True):
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-7)


def test_only_the_last_part_is_reduced_over_processes():
    reduces, seen = True, list[bool]()

    @contextmanager
    def no_sync() -> Iterator[None]:
        nonlocal reduces
        reduces = False
        yield
        reduces = True

    def backward(loss: Tensor, **how: object) -> None:
        seen.append(reduces)
        loss.backward(**how)

    g = replace(networks(0.1, 0.0)[0], no_sync=no_sync)
    g.net.register_forward_pre_hook(lambda *_: seen.append(reduces))  # DDP asks in the forward pass too

    pretrain_step(g, "mse", [batch()] * 3, backward)

    assert seen == [False] * 4 + [True] * 2


def test_every_part_is_compared_with_its_own_images():
    gan = RelativisticGAN().build(lambda mean: mean)
    g, d = bare_networks(0.0, 0.0)
    terms = Losses("mse", None, gan, Weights(pixel=1.0))
    parts = halves(Pair(batch().lr.double(), batch().hr.double()))

    got = gan_step(g, d, terms, parts, torch.Tensor.backward)

    logits = [(d.net(part.hr).detach(), d.net(g.net(part.lr)).detach()) for part in parts]
    assert got["discriminator"] == torch.stack([gan.for_discriminator(*both).loss for both in logits]).mean()
    assert got["adversarial"] == torch.stack([gan.for_generator(*both) for both in logits]).mean()


@pytest.mark.parametrize("relativistic", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_pixel_and_content_compare_with_the_sharpened_image_and_the_discriminator_sees_the_plain_one(
    relativistic: bool, shared: bool
):
    gan = RelativisticGAN().build(lambda mean: mean) if relativistic else VanillaGAN()
    terms = replace(losses(), adversarial=gan)
    g, d = networks(0.0, 0.0)
    d = replace(d, full_backward=not shared)
    pair = batch()._replace(sharpened=batch().hr / 2)
    seen = counted(d.net)

    got = gan_step(g, d, terms, [pair], torch.Tensor.backward)

    sr = g.net(pair.lr).detach()
    assert got["pixel"] == pixel_loss("mse", sr, pair.hr / 2)
    assert got["content"] == terms.content(sr, pair.hr / 2)
    kinds = {"hr" if torch.equal(s, pair.hr) else "sr" if torch.equal(s, sr) else "another" for s in seen}
    assert kinds == {"hr", "sr"}


def test_pretraining_compares_with_the_sharpened_image():
    g, _ = networks(0.0, 0.0)
    pair = batch()._replace(sharpened=batch().hr / 2)

    got = pretrain_step(g, "l1", [pair], torch.Tensor.backward)

    assert got["pixel"] == pixel_loss("l1", g.net(pair.lr), pair.hr / 2)


def test_without_a_content_loss_there_is_no_content_term():
    g, d = networks(0.0, 0.0)

    got = gan_step(g, d, replace(losses(), content=None), [batch()], torch.Tensor.backward)

    assert "content" not in got


def fused(network: nn.Module, max_norm: float = float("inf")) -> Trainable:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    return Trainable(net=network, raw=network, optimizer=optimizer, optimizer_step=optimizer.step, max_norm=max_norm)


def test_a_step_without_a_finite_gradient_changes_no_weight():
    g, d = (fused(p.net) for p in networks(0, 0))
    g_before, d_before = flat(g.net), flat(d.net)
    bad = Pair(batch().lr, batch().hr * float("nan"))

    terms = gan_step(g, d, losses(), [bad], torch.Tensor.backward)

    assert not terms["generator_norm"].isfinite()
    assert torch.equal(flat(g.net), g_before)
    assert torch.equal(flat(d.net), d_before)


def test_a_loss_that_is_not_finite_skips_the_step_also_where_its_derivative_would_be_finite():
    """The derivative of L1 is a sign, which is 0 for NaN; that of a squared difference is NaN by itself."""
    g, d = (fused(p.net) for p in networks(0, 0))
    g_before, d_before = flat(g.net), flat(d.net)
    bad = batch()._replace(sharpened=batch().hr * float("nan"))  # what the discriminator sees is good
    terms = replace(losses(pixel=1.0), pixel="l1", content=None)

    pretrained = pretrain_step(g, "l1", [bad], torch.Tensor.backward)
    got = gan_step(g, d, terms, [bad], torch.Tensor.backward)

    assert not pretrained["generator_norm"].isfinite()
    assert not got["generator_norm"].isfinite()
    assert torch.equal(flat(g.net), g_before)
    assert got["discriminator_norm"].isfinite()
    assert not torch.equal(flat(d.net), d_before)


def test_the_step_after_a_skipped_one_is_as_if_nothing_had_been():
    g, untouched = (fused(networks(0, 0)[0].net) for _ in range(2))
    bad = Pair(batch().lr, batch().hr * float("nan"))

    for parts in ([batch()], [bad], [batch()]):
        pretrain_step(g, "mse", parts, torch.Tensor.backward)
    for _ in range(2):
        pretrain_step(untouched, "mse", [batch()], torch.Tensor.backward)

    assert torch.equal(flat(g.net), flat(untouched.net))


def test_gradients_are_scaled_down_to_the_limit():
    free, limited = networks(0.1, 0)[0], networks(0.1, 0)[0]
    before = flat(free.net)

    norm = float(pretrain_step(free, "mse", [batch()], torch.Tensor.backward)["generator_norm"])
    pretrain_step(replace(limited, max_norm=norm / 2), "mse", [batch()], torch.Tensor.backward)

    torch.testing.assert_close((flat(limited.net) - before) * 2, flat(free.net) - before, rtol=1e-3, atol=1e-6)


def scaled(plain: Trainable) -> Trainable:
    """With the scaler of fp16 between loss and gradient: a power of two, so that nothing is rounded."""

    def unscale() -> None:
        for p in plain.parameters:
            p.grad /= 1024

    return replace(plain, unscale=unscale)


def scaled_backward(loss: Tensor, **how: object) -> None:
    (loss * 1024).backward(**how)


@pytest.mark.parametrize("share", [0.5, 2.0, float("inf")])
def test_the_scalers_factor_is_taken_out_before_gradients_are_measured_and_clipped(share: float):
    norm = float(pretrain_step(networks(0, 0)[0], "mse", [batch()], torch.Tensor.backward)["generator_norm"])
    plain, other = (replace(networks(0.1, 0)[0], max_norm=share * norm) for _ in range(2))

    pretrain_step(plain, "mse", [batch()], torch.Tensor.backward)
    got = pretrain_step(scaled(other), "mse", [batch()], scaled_backward)

    assert got["generator_norm"] == norm  # before it is clipped
    assert torch.equal(flat(other.net), flat(plain.net))


def test_the_loss_on_artifacts_is_a_term_with_a_weight():
    other = SRResNetConfig(blocks=1, channels=4).build(2).eval()
    alone, beside = losses(pixel=0.0, content=0.0, adversarial=0.0, artifact=3.0), losses(pixel=0.0, artifact=3.0)

    both = [replace(terms, artifact=ArtifactLoss(other)) for terms in (alone, beside)]
    got = [gan_step(*networks(0.0, 0.0), terms, [batch()], torch.Tensor.backward, True) for terms in both]

    assert got[0]["artifact"] == got[1]["artifact"] > 0
    assert got[0]["share_artifact"] == 1
    assert got[1]["share_artifact"] < 1


def test_a_term_without_weight_has_no_share_in_the_gradient():
    g, d = networks(0.0, 0.0)
    terms = losses(pixel=0.5, content=0.0, adversarial=0.0)

    got = gan_step(g, d, terms, [batch()], torch.Tensor.backward, measure_gradient_shares=True)

    assert [got[f"share_{name}"].item() for name in ("pixel", "content", "adversarial")] == [1.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_probe_measures_and_changes_nothing():
    plain, probed = networks(0.1, 0.1), networks(0.1, 0.1)

    gan_step(*plain, losses(pixel=1.0), [batch()], torch.Tensor.backward)
    terms = gan_step(*probed, losses(pixel=1.0), [batch()], torch.Tensor.backward, measure_gradient_shares=True)

    shares = [terms[f"share_{name}"] for name in ("pixel", "content", "adversarial")]
    assert sum(shares) == pytest.approx(1)
    assert all(s > 0 for s in shares)
    assert torch.equal(flat(plain[0].net), flat(probed[0].net))


def counted(network: nn.Module) -> list[Tensor]:
    """What a network was given, in order."""
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    return seen


def test_the_discriminator_looks_at_every_image_once():
    g, d = networks(0.1, 0.1)
    seen = counted(d.net)

    gan_step(g, d, losses(), [batch()], torch.Tensor.backward)

    assert len(seen) == 2


@pytest.mark.parametrize("relativistic", [False, True])
def test_sharing_the_discriminators_pass_changes_nothing(relativistic: bool):
    gan = RelativisticGAN().build(lambda mean: mean) if relativistic else VanillaGAN()
    shared, apart = networks(0.1, 0.1), networks(0.1, 0.1)
    apart = apart[0], replace(apart[1], full_backward=True)
    terms = replace(losses(pixel=1.0, adversarial=0.1), adversarial=gan)

    for _ in range(3):
        one = gan_step(*shared, terms, [batch()], torch.Tensor.backward)
        other = gan_step(*apart, terms, [batch()], torch.Tensor.backward)

    assert all(torch.equal(one[name], other[name]) for name in one)
    for a, b in zip(shared, apart, strict=True):
        assert torch.equal(flat(a.net), flat(b.net))


def published_step(g: nn.Module, d: nn.Module, content: nn.Module, pair: Pair, rate: float) -> list[Tensor]:
    """SRGAN's step as the published training codes write it: one network after the other, everything apart."""
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    d.requires_grad_(False)
    sr = g(pair.lr)
    logits = d(sr)
    pixel, feature = nn.functional.mse_loss(sr, pair.hr), content(sr, pair.hr)
    adversarial = cross_entropy(logits, torch.ones_like(logits))
    (pixel + feature + 0.1 * adversarial).backward()
    descend(g, rate)
    d.requires_grad_(True)
    real, fake = d(pair.hr), d(sr.detach())
    cross_entropy(real, torch.ones_like(real)).backward()
    cross_entropy(fake, torch.zeros_like(fake)).backward()
    descend(d, rate)
    return [pixel, feature, adversarial]


def descend(network: nn.Module, rate: float) -> None:
    with torch.no_grad():
        for p in network.parameters():
            p -= rate * p.grad
            p.grad = None


def test_the_step_is_the_published_one():
    ours, theirs = networks(0.1, 0.1), networks(0.1, 0.1)
    terms = losses(pixel=1.0, adversarial=0.1)

    for _ in range(5):
        got = gan_step(*ours, terms, [batch()], torch.Tensor.backward)
        wanted = published_step(theirs[0].net, theirs[1].net, terms.content, batch(), 0.1)

    values = torch.stack([got[name] for name in ("pixel", "content", "adversarial")])
    torch.testing.assert_close(values, torch.stack(wanted).detach(), rtol=1e-4, atol=1e-6)  # float32, five steps
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(flat(a.net), flat(b.net), rtol=1e-3, atol=1e-5)
