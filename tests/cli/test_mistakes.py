"""Mistakes that people make: each is answered with one line that names the right flag, and exit code 2."""

from pathlib import Path

import pytest

from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main

RATES = "--pretrain.schedule.learning-rate or --adversarial.schedule.learning-rate"
TRAINING = [
    ("--data.hr_crop --dry_run", "--data.hr-crop needs a value, such as 96"),
    ("--lr 1e-4", f"there is no flag --lr; did you mean {RATES}?"),
    ("--epochs 10", "did you mean --pretrain.epochs or --adversarial.epochs?"),
    ("--batch-size 8", "did you mean --data.batch?"),
    ("--num-gpus 4", "accelerate launch --num_processes N"),
    ("--output runs/x", "did you mean --run-dir?"),
    ("--resume", "repeat the same command"),
    ("--resume_from_checkpoint x", "--weights RUN"),
    ("--gpu-ids 0,1", "CUDA_VISIBLE_DEVICES"),
    ("--data.bacth 4", "did you mean --data.batch?"),
    ("--crop_size 128", "did you mean --data.hr-crop?"),
    ("--fp16", "did you mean --mixed-precision?"),
    ("--num_workers 8", "did you mean --data.threads?"),
    ("-lr 1e-4", f"did you mean {RATES}?"),
    ("--steps 100", "did you mean --pretrain.steps or --adversarial.steps?"),
    ("data.batch=4", "did you mean --data.batch=4?"),
    ("my.yaml", "unexpected argument 'my.yaml'; did you mean --config my.yaml?"),
    ("--data.batch many", "--data.batch: 'many' is not an integer"),
    ("--data.batch 2.5", "--data.batch: '2.5' is not an integer"),
    ("--data.batch 0", "--data.batch 0 must be at least 1"),
    ("--data.hr-crop 97", "--data.hr-crop 97 must be a multiple of --scale 4: 96 or 100"),
    ("--pretrain.schedule.learning-rate -1", "--pretrain.schedule.learning-rate -1 must not be negative"),
    ("--loss.weights.adversarial -1", "--loss.weights.adversarial -1 must not be negative; 0 leaves the term out"),
    ("--loss.weights.artifact -1", "--loss.weights.artifact -1 must not be negative"),
    ("--loss.weights.artifact 10 --ema-decay 0", "--ema-decay 0 turns off; set --ema-decay 0.999"),
    ("--loss.content.divisor 0", "--loss.content.divisor 0 must be positive"),
    ("--loss.content.layers conv3_4 1 conv4_4 -1", "--loss.content.layers: the weights of the layers must not be"),
    ("--pretrain.schedule.learning-rate nan", "'nan' is not a number"),
    ("--mixed-precision bf61", "--mixed-precision: 'bf61' is not one of the choices; did you mean bf16?"),
    ("--generator.type rrdbent", "--generator.type: there is no 'rrdbent'; did you mean rrdbnet?"),
    ("--generator.growth-channels 16", "belongs to --generator.type rrdbnet"),
    ("--optimizer.betas 0.9", "--optimizer.betas: needs 2 values, not 1"),
    ("--deterministic maybe", "unexpected argument 'maybe'"),
    ("--config", "--config needs a file"),
    ("--config nowhere.yaml", "--config nowhere.yaml: No such file or directory"),
    ("--frobnicate 3", "train.py srgan-x4 --help-all lists all flags"),
]
COMMANDS = [
    ("", "PRESET is missing", "train"),
    ("srgan-4x", "did you mean srgan-x4?", "train"),
    ("--lr 3", "the preset comes before --lr; usage: srgan train PRESET", "train"),
    ("--preset srgan-x4", "the preset comes before --preset; usage: srgan train PRESET", "train"),
    ("sure", "there is no preset 'sure'; known: demo-x4, quickstart", "train"),
    ("in.png out.png --scale 2 --model x", "did you mean --out-scale?", "upscale"),
    ("in.png --model x", "the target is missing", "upscale"),
    ("--model x", "PATHS is missing", "upscale"),
    ("in.png out.png --quality 101", "--quality 101 must be between 1 and 100", "upscale"),
    ("in.png out.png --tile 0", "--tile 0 must be at least 1", "upscale"),
    ("--models x", "--data is missing", "evaluate"),
    ("--data x --model y", "did you mean --models?", "evaluate"),
    ("--data x --perceptual lpisp", "did you mean lpips?", "evaluate"),
    ("run --out x.pth", "--out x.pth must end in .safetensors", "export"),
    ("run --out x.safetensors --format onnx", "--format onnx does not fit --out x.safetensors", "export"),
    ("run", "--out is missing", "export"),
    ("run --onnx x.onnx", "did you mean --out", "export"),
    ("a b", "--out is missing", "compare"),
    ("a --out x.html --images 0", "--images 0 must be at least 1", "compare"),
    ("folder --out x", "--root is missing", "pack"),
    ("folder --input x --out y", "did you mean --root?", "pack"),
    ("folder --root x --out y --scale 0", "--scale 0 must be at least 1", "pack"),
    ("", "SOURCE is missing", "pack"),
    ("", "ACTION is missing", "shards"),
    ("verify", "LOCATION is missing", "shards"),
    ("verify a b", "unexpected argument 'b'", "shards"),
    ("show x --count 0", "--count 0 must be at least 1", "shards"),
    ("sync", "RUN is missing", "track"),
    ("", "SOURCE is missing", "repro"),
    ("srgan-x4", "--out is missing", "config"),
    ("srgan-x4 --out x.yaml --lr 3", f"did you mean {RATES}?", "config"),
]


@pytest.mark.parametrize(("words", "answer"), TRAINING, ids=[words for words, _ in TRAINING])
def test_a_mistake_in_training_is_answered_with_one_line(
    words: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    code = train_main(["srgan-x4", *words.split()])

    said = capsys.readouterr()
    assert code == 2
    assert answer in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "answer", "command"), COMMANDS, ids=[f"{c} {words}" for words, _, c in COMMANDS])
def test_a_mistake_in_a_command_is_answered_with_one_line(
    words: str,
    answer: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)

    code = main([command, *words.split()])

    said = capsys.readouterr()
    assert code == 2
    assert answer in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "answer"), [("train", "srgan train --config mine"), ("pack", "srgan pack folder --root mine")]
)
def test_a_file_in_the_place_of_a_name_is_answered_with_its_flag(
    command: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("mine").touch()

    assert main([command, "mine"]) == 2
    assert capsys.readouterr().err.endswith(f"'mine'; did you mean {answer}?\n")
