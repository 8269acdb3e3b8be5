"""The notebook baseline as plain PyTorch: SRGAN at x2 without pretraining, in float32, as such notebooks train it.

    python benchmarks/plain_notebook.py --pairs PAIRS --out DIR --steps 1500 --device cuda

`PAIRS/HR` and `PAIRS/LR` hold the pairs as PNG files. Every crop decodes its two complete images; a DataLoader gives
batches to the loop, which updates the discriminator on `nn.BCELoss` and then the generator on MSE + VGG19 features +
1e-3 BCE, and reads its losses back in every step. Networks, features and loss weights are those of the preset
`notebook-x2`, so that nothing but the program differs. `benchmarks/notebook_baseline.py` runs it beside ours.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from srgan_dist.models import SRResNetConfig, VGGDiscriminatorConfig
from srgan_dist.models.files import save_generator
from srgan_dist.models.vgg import load_vgg
from srgan_dist.utils.memory import peak_memory

SCALE, RATE, ADVERSARIAL, WORKERS = 2, 1e-4, 1e-3, 4


class Pairs(Dataset):
    """Random crops of image pairs; each item decodes its images anew."""

    def __init__(self, folder: Path, crop: int) -> None:
        self.files, self.crop = sorted((folder / "HR").glob("*.png")), crop
        self.lr_folder = folder / "LR"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        hr = Image.open(self.files[index]).convert("RGB")
        lr = Image.open(self.lr_folder / self.files[index].name).convert("RGB")
        side = self.crop // SCALE
        x, y = random.randint(0, lr.width - side), random.randint(0, lr.height - side)
        lr = lr.crop((x, y, x + side, y + side))
        hr = hr.crop((SCALE * x, SCALE * y, SCALE * (x + side), SCALE * (y + side)))
        if random.random() < 0.5:
            lr, hr = (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (lr, hr))
        return to_tensor(lr), to_tensor(hr)


class Notebook:
    """The networks, losses and optimizers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.config = SRResNetConfig(blocks=options.blocks, channels=options.channels)
        self.generator = self.config.build(SCALE).to(self.device)
        judge = VGGDiscriminatorConfig(channels=options.discriminator_channels, dense=options.discriminator_dense)
        self.discriminator = nn.Sequential(judge.build(options.crop), nn.Sigmoid()).to(self.device)
        self.vgg = load_vgg("vgg19", [options.layer], options.vgg).to(self.device)
        self.divisor = options.divisor
        self.bce, self.mse = nn.BCELoss(), nn.MSELoss()
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=RATE)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=RATE)

    def step(self, lr: Tensor, hr: Tensor) -> dict[str, float]:
        lr, hr = lr.to(self.device), hr.to(self.device)
        real, fake = (torch.full((len(hr), 1), label, device=self.device) for label in (1.0, 0.0))
        sr = self.generator(lr)

        self.optimizer_d.zero_grad()
        d_loss = self.bce(self.discriminator(hr), real) + self.bce(self.discriminator(sr.detach()), fake)
        d_loss.backward()
        self.optimizer_d.step()

        self.optimizer_g.zero_grad()
        pixel = self.mse(sr, hr)
        content = self.mse(self.features(sr), self.features(hr))
        adversarial = self.bce(self.discriminator(sr), real)
        g_loss = pixel + content + ADVERSARIAL * adversarial
        g_loss.backward()
        self.optimizer_g.step()
        terms = {"pixel": pixel, "content": content, "adversarial": adversarial, "discriminator": d_loss}
        return {name: term.item() for name, term in terms.items()}

    def features(self, images: Tensor) -> Tensor:
        return self.vgg(images)[0] / self.divisor


def main() -> None:
    options = parse()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    notebook, pairs = Notebook(options), Pairs(options.pairs, options.crop)
    loader = DataLoader(pairs, options.batch, shuffle=True, num_workers=options.workers, drop_last=True)
    began, step, curve = time.perf_counter(), 0, []
    while step < options.steps:
        for lr, hr in loader:
            losses = notebook.step(lr, hr)
            step += 1
            if step % options.log_every == 0 or step == options.steps:
                seconds = time.perf_counter() - began
                print(
                    f"step {step}  {seconds:.1f} s  " + "  ".join(f"{k} {v:.4g}" for k, v in losses.items()), flush=True
                )
                curve.append((step, seconds))
                save(notebook, options, curve)
            if step == options.steps:
                break


def save(notebook: Notebook, options: argparse.Namespace, curve: list[tuple[int, float]]) -> None:
    """Write the generator, and what training it took so far: steps and seconds, and peak memory."""
    notes = {"label": "notebook", "scale": SCALE, "degradation": "matlab-mirror"}
    save_generator(options.out / "generator.safetensors", notebook.generator, notebook.config, notes)
    facts = {"steps": curve[-1][0], "curve": curve, "memory_gib": peak_memory(notebook.device) / 2**30}
    (options.out / "facts.json").write_text(json.dumps(facts | {"precision": "no"}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True, help="folder with HR and LR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vgg", type=Path, help="VGG19's weights; downloaded by default")
    parser.add_argument("--layer", default="relu5_4", help="of VGG19")
    parser.add_argument("--divisor", type=float, default=12.75, help="of the features")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    sizes = {"steps": 1500, "batch": 16, "crop": 96, "blocks": 16, "channels": 64, "discriminator_channels": 64,
             "discriminator_dense": 1024, "seed": 0, "workers": WORKERS, "log_every": 50}  # fmt: skip
    for name, default in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
