"""The step that users would otherwise run: a plain loop as BasicSR writes it, and BasicSR itself where it is installed.

float32, NCHW, the discriminator's passes over real and fake apart with a backward each, the fake scored once for each
network, losses read back every step, the moving average by a Python loop over the parameters.
"""

import copy
import sys
import types
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import rgb_to_grayscale

from srgan_dist.models.vgg import VGGFeatures, load_vgg
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.losses import RelativisticGAN

Losses = dict[str, float]


class PlainLoop:
    """SRGAN with the vanilla loss, ESRGAN with the relativistic one, as `config.loss` says."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.relativistic = config, isinstance(config.loss.adversarial, RelativisticGAN)
        torch.manual_seed(config.seed * 2)
        self.net_g = config.generator.build(config.scale).to(device).train()
        torch.manual_seed(config.seed * 2 + 1)
        self.net_d = config.discriminator.build(config.data.hr_crop).to(device).train()
        self.net_g_ema = copy.deepcopy(self.net_g).eval()
        self.vgg = features(config).to(device)
        rate = config.adversarial.schedule.at(0, config.adversarial.steps)
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters(), lr=rate, betas=config.optimizer.betas)
        self.optimizer_d = torch.optim.Adam(self.net_d.parameters(), lr=rate, betas=config.optimizer.betas)

    def step(self, lq: Tensor, gt: Tensor) -> Losses:
        """One update of both networks on a batch; the losses as numbers."""
        log: OrderedDict[str, Tensor] = OrderedDict()
        for p in self.net_d.parameters():
            p.requires_grad = False
        self.optimizer_g.zero_grad()
        output = self.net_g(lq)
        weights = self.config.loss.weights
        log["pixel"] = F.mse_loss(output, gt) if self.config.loss.pixel == "mse" else F.l1_loss(output, gt)
        log["content"] = self._content(output, gt)
        log["adversarial"] = self._adversarial_of_generator(output, gt)
        total = weights.pixel * log["pixel"] + weights.content * log["content"]
        (total + weights.adversarial * log["adversarial"]).backward()
        self.optimizer_g.step()

        for p in self.net_d.parameters():
            p.requires_grad = True
        self.optimizer_d.zero_grad()
        log["discriminator"] = self._learn_to_judge(output, gt)
        self.optimizer_d.step()

        losses = {name: value.mean().item() for name, value in log.items()}
        self._average()
        return losses

    def _content(self, output: Tensor, gt: Tensor) -> Tensor:
        config = self.config.loss.content
        got, wanted = self.vgg(output), self.vgg(gt.detach())
        compare = F.l1_loss if config.distance == "l1" else F.mse_loss
        terms = zip(config.layers, got, wanted, strict=True)
        return sum(weight * compare(a / config.divisor, b / config.divisor) for (_, weight), a, b in terms)

    def _adversarial_of_generator(self, output: Tensor, gt: Tensor) -> Tensor:
        if not self.relativistic:
            return _cross_entropy(self.net_d(output), real=True)
        real, fake = self.net_d(gt).detach(), self.net_d(output)
        return (_cross_entropy(real - fake.mean(), real=False) + _cross_entropy(fake - real.mean(), real=True)) / 2

    def _learn_to_judge(self, output: Tensor, gt: Tensor) -> Tensor:
        if not self.relativistic:
            l_real = _cross_entropy(self.net_d(gt), real=True)
            l_real.backward()
            l_fake = _cross_entropy(self.net_d(output.detach()), real=False)
            l_fake.backward()
            return l_real.detach() + l_fake.detach()
        fake = self.net_d(output).detach()
        real = self.net_d(gt)
        l_real = _cross_entropy(real - fake.mean(), real=True) * 0.5
        l_real.backward()
        fake = self.net_d(output.detach())
        l_fake = _cross_entropy(fake - real.mean().detach(), real=False) * 0.5
        l_fake.backward()
        return l_real.detach() + l_fake.detach()

    def _average(self) -> None:
        mine, theirs = dict(self.net_g_ema.named_parameters()), dict(self.net_g.named_parameters())
        for name in mine:
            mine[name].data.mul_(0.999).add_(theirs[name].data, alpha=0.001)


class BasicSR:
    """The peer's own model class on the same sizes: SRResNet (`MSRResNet`) or RRDBNet, VGG discriminator, VGG19."""

    def __init__(self, config: TrainConfig, device: torch.device, vgg: Path) -> None:
        if config.data.hr_crop not in (128, 256):
            raise SystemExit("BasicSR's discriminator takes crops of 128 or 256 only: add --crop 128")
        # torchvision dropped the module that BasicSR 1.4 imports this from.
        moved = types.ModuleType("torchvision.transforms.functional_tensor")
        moved.rgb_to_grayscale = rgb_to_grayscale
        sys.modules[moved.__name__] = moved
        from basicsr.archs import vgg_arch
        from basicsr.models import build_model

        vgg_arch.VGG_PRETRAIN_PATH = str(vgg)
        self.model = build_model(_basicsr_options(config, device))
        self.number = 0

    def step(self, lq: Tensor, gt: Tensor) -> Losses:
        """One update of both networks on a batch; the losses as numbers."""
        self.number += 1
        self.model.feed_data({"lq": lq, "gt": gt})
        self.model.optimize_parameters(self.number)
        return dict(self.model.get_current_log())


def _basicsr_options(config: TrainConfig, device: torch.device) -> dict[str, object]:
    relativistic = isinstance(config.loss.adversarial, RelativisticGAN)
    blocks = {"num_feat": 64, "num_block": config.generator.blocks}
    network = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, **blocks} if relativistic else None
    adam = {"type": "Adam", "lr": 1e-4, "betas": list(config.optimizer.betas)}
    layers = {"conv5_4" if relativistic else "relu5_4": 1.0}
    return {
        "name": "peer", "model_type": "ESRGANModel" if relativistic else "SRGANModel", "scale": config.scale,
        "num_gpu": 1 if device.type == "cuda" else 0, "is_train": True, "dist": False, "rank": 0,
        "path": {"pretrain_network_g": None, "pretrain_network_d": None, "resume_state": None},
        "network_g": network or {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "upscale": 4, **blocks},
        "network_d": {
            "type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 64, "input_size": config.data.hr_crop,
        },
        "train": {
            "ema_decay": 0.999, "optim_g": dict(adam), "optim_d": dict(adam), "total_iter": 100, "warmup_iter": -1,
            "scheduler": {"type": "MultiStepLR", "milestones": [1000], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 0.01, "reduction": "mean"},
            "perceptual_opt": {
                "type": "PerceptualLoss", "layer_weights": layers, "vgg_type": "vgg19", "use_input_norm": True,
                "range_norm": False, "perceptual_weight": 1.0, "style_weight": 0, "criterion": "l1",
            },
            "gan_opt": {
                "type": "GANLoss", "gan_type": "vanilla", "real_label_val": 1.0, "fake_label_val": 0.0,
                "loss_weight": 5e-3,
            },
            "net_d_iters": 1, "net_d_init_iters": 0,
        },
    }  # fmt: skip


def features(config: TrainConfig) -> VGGFeatures:
    """VGG19 as a plain program has it: activations that are not in place."""
    content = config.loss.content
    vgg = load_vgg(content.network, [layer for layer, _ in content.layers], content.weights)
    for module in vgg.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return vgg


def _cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
