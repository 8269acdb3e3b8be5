"""One-line summaries of the presets. Does not import torch, so that `train.py --help` responds immediately."""

SUMMARIES = {
    "demo-x4": "x4 on the sample photographs beside the networks of the package: a few minutes on a CPU, no downloads",
    "quickstart": "a small x2 run on the sample photographs: a few minutes on a CPU, no downloads",
    "srresnet-x4": "SRResNet of the SRGAN paper: 10^6 steps on MSE, no GAN; needs no VGG",
    "srgan-x4": "SRGAN of the paper (VGG54): SRResNet first, then VGG content and adversarial loss",
    "srgan-vgg22-x4": "SRGAN-VGG22 of the paper: content loss on a shallower VGG layer",
    "srgan-mse-x4": "SRGAN-MSE of the paper: pixel MSE as content loss; needs no VGG",
    "notebook-x2": "the notebook baseline: 400 DIV2K pairs at x2, 60 epochs, no pretraining",
    "esrgan-x4": "ESRGAN of the paper: RRDBNet on L1, then VGG features before activation and a relativistic GAN",
    "esrgan-celeba-x4": "ESRGAN on CelebA's aligned faces",
    "real-esrgan-x4": "Real-ESRGAN of the paper: second-order degradations, U-Net discriminator",
    "compact-x2": "the small, fast SRVGGNetCompact, trained like Real-ESRGAN, x2",
    "compact-x4": "the small, fast SRVGGNetCompact, trained like Real-ESRGAN, x4",
    "finetune-real-esrgan-x4": "adapts a Real-ESRGAN x4 generator (--weights FILE) to your images, keeping its texture",
    "finetune-esrgan-x4": "adapts an ESRGAN x4 generator (--weights FILE) to your images, keeping its texture",
    "finetune-compact-x2": "adapts a SRVGGNetCompact x2 generator (--weights FILE) to your images, keeping its texture",
}
