"""What is said about a flag or a key that does not exist: the right name for it here."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

_PHASES = ("pretrain", "adversarial")
_RATES = tuple(f"{phase}.schedule.learning_rate" for phase in _PHASES)
_STEPS = tuple(f"{phase}.steps" for phase in _PHASES)
_OUTPUT = ("run_dir", "out", "markdown")
_WEIGHTS = ("weights", "model", "models")
_LAUNCH = "the launcher sets it: accelerate launch --num_processes N train.py PRESET"
_RESUME = "repeat the same command to resume its --run-dir, or start from the weights of a run with --weights RUN"

MEANT: Mapping[str, Sequence[str] | str] = {
    "lr": _RATES, "learning_rate": _RATES, "base_lr": _RATES,
    "lr_scheduler": ("pretrain.schedule.type", "adversarial.schedule.type"),
    "lr_g": _RATES, "lr_d": ("discriminator_rate",),
    "epochs": ("pretrain.epochs", "adversarial.epochs"), "num_epochs": ("pretrain.epochs", "adversarial.epochs"),
    "max_epochs": ("pretrain.epochs", "adversarial.epochs"), "n_epochs": ("pretrain.epochs", "adversarial.epochs"),
    "steps": _STEPS, "iters": _STEPS, "iterations": _STEPS, "max_steps": _STEPS, "total_iter": _STEPS,
    "batch_size": ("data.batch", "batch"), "bs": ("data.batch", "batch"), "batchsize": ("data.batch", "batch"),
    "crop_size": ("data.hr_crop", "hr_crop"), "patch_size": ("data.hr_crop", "hr_crop", "tile"),
    "gt_size": ("data.hr_crop", "hr_crop"), "image_size": ("data.hr_crop", "side"), "crop": ("data.hr_crop",),
    "dataset": ("data.shards", "data"), "data": ("data.shards",), "data_dir": ("data.shards", "data", "root"),
    "data_root": ("data.shards", "data", "root"), "train_dir": ("data.shards",), "shards": ("data.shards",),
    "dataroot": ("data.shards", "data", "root"), "folder": ("root",),
    "num_workers": ("data.threads", "workers"), "workers": ("data.threads",),
    "output": _OUTPUT, "out": _OUTPUT, "o": _OUTPUT, "output_dir": _OUTPUT, "out_dir": _OUTPUT, "save_dir": _OUTPUT,
    "log_dir": _OUTPUT, "logdir": _OUTPUT, "name": _OUTPUT, "exp_name": _OUTPUT, "save_path": _OUTPUT,
    "input": ("root", "data"), "i": ("root", "data"), "input_dir": ("root", "data"),
    "checkpoint": (*_WEIGHTS, "at"), "ckpt": (*_WEIGHTS, "at"), "pretrained": _WEIGHTS, "init": _WEIGHTS,
    "weights": _WEIGHTS, "model": ("models", "generator.type"), "models": ("model",), "model_path": _WEIGHTS,
    "load": _WEIGHTS, "finetune": _WEIGHTS, "arch": ("generator.type",), "network": ("generator.type",),
    "netg": ("generator.type",), "netd": ("discriminator.type",), "step": ("at",),
    "fp16": ("mixed_precision",), "bf16": ("mixed_precision",), "amp": ("mixed_precision",),
    "half": ("mixed_precision",),
    "precision": ("mixed_precision",), "dtype": ("mixed_precision",), "fp32": ("mixed_precision",),
    "onnx": ("out FILE.onnx",), "scale": ("out_scale",), "outscale": ("out_scale",),
    "upscale": ("scale", "out_scale"),
    "upscale_factor": ("scale", "out_scale"), "s": ("scale", "out_scale"), "ext": ("format",),
    "tile_size": ("tile",), "tta": ("self_ensemble",), "force": ("overwrite",), "metrics": ("perceptual",),
    "val_freq": ("validation.every",), "val_every": ("validation.every",), "eval_every": ("validation.every",),
    "save_every": ("checkpoint.every",), "save_freq": ("checkpoint.every",), "save_interval": ("checkpoint.every",),
    "print_freq": ("log_every",), "log_interval": ("log_every",), "log_freq": ("log_every",),
    "weight_decay": ("optimizer.type adamw --optimizer.weight_decay",), "betas": ("optimizer.betas",),
    "beta1": ("optimizer.betas",), "optim": ("optimizer.type",), "optimizer": ("optimizer.type",),
    "grad_clip": ("clip_norm",), "clip_grad": ("clip_norm",), "max_grad_norm": ("clip_norm",),
    "gradient_accumulation_steps": ("accumulate",), "accum": ("accumulate",), "ema": ("ema_decay",),
    "lambda_adv": ("loss.weights.adversarial",), "gan_weight": ("loss.weights.adversarial",),
    "perceptual_weight": ("loss.weights.content",), "pixel_weight": ("loss.weights.pixel",),
    "ldl_weight": ("loss.weights.artifact",), "artifacts_weight": ("loss.weights.artifact",),
    "experiment": ("tracking.experiment", "mlflow"), "tensorboard": ("tracking.enabled",),
    "max_minutes": ("time_limit",), "max_time": ("time_limit",), "opt": ("config",), "cfg": ("config",),
    "num_gpus": _LAUNCH, "gpus": _LAUNCH, "num_processes": _LAUNCH, "nproc_per_node": _LAUNCH, "devices": _LAUNCH,
    "gpu": "choose GPUs with CUDA_VISIBLE_DEVICES", "gpu_ids": "choose GPUs with CUDA_VISIBLE_DEVICES",
    "device": "the launcher chooses it: accelerate launch --cpu train.py PRESET, or CUDA_VISIBLE_DEVICES",
    "cpu": "the launcher chooses it: accelerate launch --cpu train.py PRESET",
    "resume": _RESUME, "auto_resume": _RESUME, "resume_from": _RESUME, "resume_from_checkpoint": _RESUME,
}  # fmt: skip
"""Names that other programs use for a flag, and ours: names of which those count that a command has, or a sentence."""


def as_flag(name: str) -> str:
    """Return the flag of a field: `--data.hr-crop` for `data.hr_crop`."""
    return f"--{name.replace('_', '-')}"


def hint(word: str, names: Iterable[str]) -> list[str]:
    """Return the names that a user probably meant, the best first, or else no name.

    Args:
        word: What the user wrote, such as `batch-size`, without dashes before it.
        names: The dotted names that exist.
    """
    word, known = word.strip("-").replace("-", "_").lower(), list(names)
    meant = MEANT.get(word.rpartition(".")[2], ())
    if not isinstance(meant, str) and (found := [n for n in meant if re.split("[ =]", n)[0] in known]):
        return found
    last = word.rpartition(".")[2]
    same_last = [n for n in known if n.rpartition(".")[2] == last]
    if same_last and ("." not in word or len(same_last) == 1):
        return same_last
    if close := get_close_matches(word, known, n=1, cutoff=0.75):
        return close
    ends = {n.rpartition(".")[2]: n for n in reversed(known)}
    close_end = get_close_matches(last, ends, n=1, cutoff=0.7)
    return [ends[close_end[0]]] if close_end else get_close_matches(word, known, n=1, cutoff=0.6)


def about_unknown_flag(word: str, names: Iterable[str], otherwise: str, preferred: Collection[str] = ()) -> str:
    """Return what to say about a flag that does not exist, such as `did you mean --data.batch?`

    Args:
        word: The flag as it was written, with its dashes.
        names: The dotted names that exist.
        otherwise: What to say if no flag is similar.
        preferred: Names that alone are suggested if some of them fit.
    """
    names = list(names)
    meant = MEANT.get(word.strip("-").replace("-", "_").lower(), ())
    if isinstance(meant, str) and "run_dir" in names:
        return meant
    found = hint(word, names)
    found = ([n for n in found if n in preferred] or found)[:3]
    return f"did you mean {' or '.join(map(as_flag, found))}?" if found else otherwise


def with_flags(message: str, names: Iterable[str]) -> str:
    """Return an error message about a configuration with flags: `--data.hr-crop 97` instead of `data.hr_crop=97`."""
    names = sorted(names, key=len, reverse=True)
    written = "|".join(map(re.escape, names))
    message = re.sub(rf"(?<![\w.-])({written})=", lambda found: f"{as_flag(found[1])} ", message)
    dotted = "|".join(re.escape(n) for n in names if "." in n)
    return (
        re.sub(rf"(?<![\w.-])({dotted})(?![\w.=]\w)", lambda found: as_flag(found[1]), message) if dotted else message
    )
