"""The presets, a line each. Loads without torch, so that `train.py --help` answers at once."""

SUMMARIES = {
    "quickstart": "x2, small, on the sample photographs: a few minutes on a CPU, no downloads",
    "srresnet-x4": "SRResNet of the SRGAN paper: 10^6 updates on MSE, no GAN; needs no VGG",
    "srgan-x4": "SRGAN of the paper (VGG54): SRResNet first, then VGG content + adversarial loss",
    "srgan-vgg22-x4": "SRGAN-VGG22 of the paper: content from the shallower VGG layer",
    "srgan-mse-x4": "SRGAN-MSE of the paper: pixel MSE as content; needs no VGG",
    "notebook-x2": "the notebook baseline: 400 DIV2K pairs at x2, 60 epochs, no pretraining",
    "esrgan-x4": "ESRGAN of the paper: RRDBNet on L1, then VGG before activation + relativistic GAN",
    "esrgan-celeba-x4": "the same on CelebA's aligned faces",
    "real-esrgan-x4": "Real-ESRGAN of the paper: second-order degradations, U-Net discriminator",
    "compact-x2": "the small, fast SRVGGNetCompact in Real-ESRGAN's training, x2",
    "compact-x4": "the same, x4",
}
