import copy
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import onnx
import onnxruntime
import pytest
import spandrel
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file

from srgan_dist.cli.app import main
from srgan_dist.cli.export import ExportOptions, export
from srgan_dist.cli.export import main as main_of_export
from srgan_dist.models import (
    CompactConfig,
    LightEDSRConfig,
    RRDBNetConfig,
    SpandrelConfig,
    SRResNetConfig,
    UNetDiscriminatorConfig,
)
from srgan_dist.models.discriminator_files import load_discriminator_weights
from srgan_dist.models.export import interpolated
from srgan_dist.models.files import load_generator, save_generator
from srgan_dist.models.onnx_export import CAN_EXPORT
from srgan_dist.models.spandrel_plugin import register
from srgan_dist.runs import checkpoint
from srgan_dist.training.config import dump
from srgan_dist.training.presets import preset
from srgan_dist.utils.usage import UsageError

RRDB = RRDBNetConfig(blocks=1, channels=8)
COMPACT = CompactConfig(convs=1, channels=8)
NOTES = {"label": "Toy", "degradation": "matlab-mirror", "data": ["abc123"]}


def model(folder, config, scale, seed=0, name="model"):
    torch.manual_seed(seed)
    network = config.build(scale)
    for p in network.parameters():  # far from its start, as after training
        p.data += 0.02 * torch.randn_like(p)
    save_generator(folder / f"{name}.safetensors", network, config, NOTES | {"scale": scale})
    return folder / f"{name}.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "scale"),
    [(RRDB, scale) for scale in (1, 2, 4, 8)]
    + [(RRDBNetConfig(blocks=2, channels=8, unshuffle=True), scale) for scale in (1, 2)]
    + [(COMPACT, scale) for scale in (1, 2, 4)],
)
def test_spandrel_opens_every_rrdbnet_and_compact_file_with_difference_zero(tmp_path, config, scale):
    file = tmp_path / "out.safetensors"

    lines = export(ExportOptions(source=model(tmp_path, config, scale), out=file))

    opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
    network = load_generator(file).network
    lr = torch.rand(1, 3, 16, 28)
    with torch.no_grad():
        assert torch.equal(opened.model.eval()(lr), network(lr))
    assert opened.scale == scale
    assert any("largest difference 0" in line for line in lines)
    assert f"{file.stat().st_size:,} bytes" in lines[0]


def test_the_command_refuses_a_file_that_spandrel_computes_differently(tmp_path, monkeypatch):
    monkeypatch.setattr("srgan_dist.models.rrdbnet._RESIDUAL_SCALE", 0.25)

    with pytest.raises(ValueError, match="spandrel's images differ"):
        export(ExportOptions(source=model(tmp_path, RRDB, 4), out=tmp_path / "out.safetensors"))


def test_growth_that_spandrel_does_not_know_is_said_plainly(tmp_path):
    source = model(tmp_path, RRDBNetConfig(blocks=1, channels=8, growth_channels=16), 4)

    lines = export(ExportOptions(source=source, out=tmp_path / "out.safetensors"))

    assert any("growth_channels=32, not 16" in line for line in lines)


def test_a_file_does_not_show_whether_its_blocks_were_recomputed_in_training(tmp_path):
    files = model(tmp_path, RRDB, 4, name="a"), model(tmp_path, replace(RRDB, recompute=True), 4, name="b")

    (notes, weights), (notes_of_recomputed, others) = map(content, files)

    assert notes == notes_of_recomputed
    assert weights.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


def content(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def test_our_own_networks_open_in_spandrel_once_our_architectures_are_imported(tmp_path):
    file = tmp_path / "out.safetensors"
    skip = SRResNetConfig(blocks=1, channels=8, interpolated_skip=True)
    for config in (SRResNetConfig(blocks=2, channels=8), skip, LightEDSRConfig(blocks=2, channels=8)):
        lines = export(ExportOptions(source=model(tmp_path, config, 2), out=file))

        opened = spandrel.ModelLoader(device="cpu").load_from_file(file)
        lr = torch.rand(1, 3, 12, 9)
        with torch.no_grad():
            assert torch.equal(opened.model.eval()(lr), load_generator(file).network(lr))
        assert any(
            f"does not support {type(opened.model).__name__}" in line and "--format onnx" in line for line in lines
        )


@pytest.mark.slow
@pytest.mark.skipif(not CAN_EXPORT, reason="the exporter of torch 2.8 is refused")
@pytest.mark.parametrize(
    ("config", "scale"),
    [
        (RRDB, 4),
        (RRDBNetConfig(blocks=1, channels=8, unshuffle=True), 2),
        (COMPACT, 2),
        (SRResNetConfig(blocks=1, channels=8, interpolated_skip=True), 2),
        (LightEDSRConfig(blocks=1, channels=8), 2),
    ],
)
def test_onnx_runs_at_any_size_within_1e_4_with_batchnorm_folded(tmp_path, config, scale):
    source, file = model(tmp_path, config, scale), tmp_path / "out.onnx"

    lines = export(ExportOptions(source=source, out=file, format="onnx"))

    graph = onnx.load(file).graph
    session = onnxruntime.InferenceSession(str(file))
    network = load_generator(source).network
    for h, w in ((31, 12), (8, 40)):
        lr = torch.rand(1, 3, h, w)
        got = session.run(None, {"lr": lr.numpy()})[0]
        assert np.abs(got - network(lr).numpy()).max() < 1e-4
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert [d.dim_param for d in graph.input[0].type.tensor_type.shape.dim[2:]] == ["height", "width"]
    assert f"{file.stat().st_size:,} bytes" in lines[0]


def test_the_same_network_is_the_same_file(tmp_path):
    network = SRResNetConfig(blocks=1, channels=4).build(2)
    files = [tmp_path / f"{n}.safetensors" for n in range(6)]
    for file in files:
        save_generator(file, network, SRResNetConfig(blocks=1, channels=4), {"label": "x", "scale": 2})

    assert len({f.read_bytes() for f in files}) == 1
    loaded = load_file(files[0])
    assert all(torch.equal(loaded[name], t) for name, t in network.state_dict().items())


def test_a_files_header_says_what_it_is(tmp_path):
    run = tmp_path / "run"
    (run / "models").mkdir(parents=True)
    source = model(run / "models", COMPACT, 2)
    (run / "config.json").write_text(json.dumps({"scale": 2}))
    means = {"Toy": {"psnr_y": 30.0, "ssim_y": 0.9}}
    (run / "evaluation.json").write_text(json.dumps({"protocol": "psnr_y_crop2", "means": means, "rows": []}))
    file = tmp_path / "out.safetensors"

    export(ExportOptions(source=run, out=file, license="cc-by-4.0"))

    with safe_open(file, "pt") as content:
        notes = json.loads(content.metadata()["srgan_dist"])
        assert all(not k.startswith(("module.", "_orig_mod.")) for k in content.keys())  # noqa: SIM118
    assert notes["generator"] == {"type": "compact", "convs": 1, "channels": 8}
    assert (notes["metrics"], notes["data"], notes["license"]) == (means, ["abc123"], "cc-by-4.0")
    assert notes["training"] == {"scale": 2}
    card = file.with_name("out.safetensors.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert "| Toy | 30.00 | 0.9000 |" in card
    assert source.stat().st_mode == file.stat().st_mode


def test_interpolation_mixes_weight_by_weight(tmp_path):
    files = model(tmp_path, RRDB, 4, seed=1, name="psnr"), model(tmp_path, RRDB, 4, seed=2, name="gan")

    for alpha in (0.0, 0.8, 1.0):
        export(ExportOptions(out=tmp_path / "mix.safetensors", interpolate=files, alpha=alpha))

        first, second, mixed = (load_generator(f).network.state_dict() for f in (*files, tmp_path / "mix.safetensors"))
        for name, value in mixed.items():
            torch.testing.assert_close(value, (1 - alpha) * first[name] + alpha * second[name], atol=1e-7, rtol=1e-6)


def test_interpolation_leaves_both_generators_unchanged(tmp_path):
    first, second = (load_generator(model(tmp_path, COMPACT, 4, seed=n, name=str(n))) for n in (1, 2))
    before = copy.deepcopy(second.network.state_dict())

    interpolated(first, second, 0.5)

    assert all(torch.equal(value, before[name]) for name, value in second.network.state_dict().items())


def test_interpolation_of_a_checkpoint_needs_runs(tmp_path):
    files = model(tmp_path, COMPACT, 4, name="a"), model(tmp_path, COMPACT, 4, name="b")

    with pytest.raises(
        ValueError, match=r"--at best selects a checkpoint of a run directory, but .*a.safetensors is not"
    ):
        export(ExportOptions(out=tmp_path / "mix.safetensors", interpolate=files, at="best"))


def test_different_networks_cannot_be_mixed(tmp_path):
    files = model(tmp_path, RRDB, 4, name="a"), model(tmp_path, COMPACT, 4, name="b")

    with pytest.raises(ValueError, match="two generators with the same network"):
        export(ExportOptions(out=tmp_path / "mix.safetensors", interpolate=files))


def test_a_published_pth_is_exported_without_being_told_what_it_is(tmp_path):
    network = RRDB.build(4)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "RealESRGAN.pth")

    export(ExportOptions(source=tmp_path / "RealESRGAN.pth", out=tmp_path / "out.safetensors"))

    loaded = load_generator(tmp_path / "out.safetensors")
    assert (loaded.config, loaded.scale) == (RRDB, 4)
    assert all(torch.equal(v, loaded.network.state_dict()[k]) for k, v in network.state_dict().items())


def test_another_architecture_goes_through_spandrel_and_back(tmp_path):
    span = spandrel.architectures.SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    torch.save(span.state_dict(), tmp_path / "span.pth")
    out = tmp_path / "span.safetensors"

    lines = export(ExportOptions(source=tmp_path / "span.pth", out=out))
    (tmp_path / "span.pth").unlink()
    loaded = load_generator(out)

    assert isinstance(loaded.config, SpandrelConfig)
    assert loaded.network(torch.rand(1, 3, 9, 10)).shape == (1, 3, 18, 20)
    assert any("largest difference 0" in line for line in lines)


@pytest.mark.parametrize(
    ("config", "scale"), [(RRDB, 4), (COMPACT, 2), (SRResNetConfig(blocks=1, channels=8, interpolated_skip=True), 2)]
)
def test_a_half_precision_file_opens_in_spandrel_and_states_its_error(tmp_path, config, scale):
    source, file = model(tmp_path, config, scale), tmp_path / "out.safetensors"

    lines = export(ExportOptions(source=source, out=file, half=True))

    assert {t.dtype for t in load_file(file).values() if t.is_floating_point()} == {torch.float16}
    register()
    opened, ours, before = spandrel.ModelLoader(device="cpu").load_from_file(file), load_generator(file), source
    lr = torch.rand(1, 3, 16, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(opened.model.eval().float()(lr), ours.network(lr))
        error = float((ours.network(lr) - load_generator(before).network(lr)).abs().max())
    stated = float(re.search(r"differ from float32's by at most (\S+)", lines[1])[1])
    assert 0 < error < 3 * stated < 0.1
    assert "largest difference 0" in lines[1]
    assert "| weights in | float16 |" in file.with_name("out.safetensors.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not CAN_EXPORT, reason="the exporter of torch 2.8 is refused")
@pytest.mark.parametrize(
    ("config", "scale"), [(COMPACT, 2), (SRResNetConfig(blocks=1, channels=8, interpolated_skip=True), 2)]
)
def test_a_half_precision_onnx_file_takes_and_gives_float32(tmp_path, config, scale):
    source, file = model(tmp_path, config, scale), tmp_path / "out.onnx"

    lines = export(ExportOptions(source=source, out=file, format="onnx", half=True))

    lr = torch.rand(1, 3, 31, 12)
    got = onnxruntime.InferenceSession(str(file)).run(None, {"lr": lr.numpy()})[0]
    assert got.dtype == np.float32
    assert np.abs(got - load_generator(source).network(lr).numpy()).max() < 2e-2
    weights = [t for t in onnx.load(file).graph.initializer if len(t.dims) == 4]
    assert {t.data_type for t in weights} == {onnx.TensorProto.FLOAT16}
    assert "onnxruntime differs from PyTorch by at most" in lines[1]


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e5, True)])
def test_weights_that_are_not_finite_are_refused_under_the_files_own_name(tmp_path, value, half):
    network = COMPACT.build(2)
    next(network.parameters()).data[0] = value
    save_generator(tmp_path / "bad.safetensors", network, COMPACT, NOTES | {"scale": 2})

    with pytest.raises(ValueError, match=r"body.0.weight contains NaN or infinity") as error:
        export(ExportOptions(source=tmp_path / "bad.safetensors", out=tmp_path / "out.safetensors", half=half))

    assert "partial" not in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_images_that_overflow_in_float16_are_refused(tmp_path):
    network = COMPACT.build(2)
    for p in network.parameters():
        p.data = p.data.abs() * 300
    save_generator(tmp_path / "loud.safetensors", network, COMPACT, NOTES | {"scale": 2})

    with pytest.raises(ValueError, match="the images that it computes in float16"):
        export(ExportOptions(source=tmp_path / "loud.safetensors", out=tmp_path / "out.safetensors", half=True))


def run_with_evaluation(folder):
    """A finished run of one phase, with a checkpoint before its end."""
    run = folder / "run"
    phases = {"pretrain": {"label": "A", "steps": 0}, "adversarial": {"label": "Toy", "steps": 9}}
    config = {"scale": 2, "weights": "published.pth", "generator": {"type": "compact", "convs": 1, "channels": 8}}
    (run / "models").mkdir(parents=True)
    model(run / "models", COMPACT, 2, name="toy")
    (run / "config.json").write_text(json.dumps(config | phases))
    means = {"bicubic": {"psnr_y": 28.0, "ssim_y": 0.8}, "Toy": {"psnr_y": 30.0, "ssim_y": 0.9}}
    rows = [{"data": "div2k-x2", "image": "1", "method": "Toy"}]
    (run / "evaluation.json").write_text(json.dumps({"protocol": "psnr_y_crop2", "means": means, "rows": rows}))
    state = {"networks": {"ema": {"network": COMPACT.build(2).state_dict()}}, "step": 5, "phase": 1}
    checkpoint.save(run / "checkpoints", 5, state, keep=2, best=None)
    return run


def test_only_the_evaluated_file_carries_the_evaluation_and_the_hub_reads_it(tmp_path):
    run = run_with_evaluation(tmp_path)

    export(ExportOptions(source=run, out=tmp_path / "final.safetensors"))
    export(ExportOptions(source=run, at="5", out=tmp_path / "step5.safetensors"))

    card = ModelCard.load(tmp_path / "final.safetensors.md")
    found = {r.metric_type: (r.metric_name, r.metric_value, r.dataset_name) for r in card.data.eval_results}
    assert found == {"psnr": ("psnr_y_crop2", 30.0, "div2k-x2"), "ssim": ("ssim_y_crop2", 0.9, "div2k-x2")}
    assert "fine-tuned with srgan_dist from published.pth" in card.text
    card = ModelCard.load(tmp_path / "step5.safetensors.md")
    assert card.data.eval_results is None
    assert "30.00" not in card.text
    notes = json.loads(content(tmp_path / "step5.safetensors")[0]["srgan_dist"])
    assert "metrics" not in notes
    assert notes["training"]["scale"] == 2


def test_a_published_network_is_converted_and_never_trained_here_even_in_a_runs_folder(tmp_path):
    source = run_with_evaluation(tmp_path) / "models" / "RealESRGAN.pth"
    torch.save({"params_ema": RRDB.build(4).state_dict()}, source)

    export(ExportOptions(source=source, out=tmp_path / "a.safetensors"))
    export(ExportOptions(source=tmp_path / "a.safetensors", out=tmp_path / "b.safetensors"))  # the mark survives

    for name in ("a", "b"):
        card = (tmp_path / f"{name}.safetensors.md").read_text()
        assert "converted from RealESRGAN.pth" in card
        assert "trained with" not in card
        assert "30.00" not in card
        assert "training" not in json.loads(content(tmp_path / f"{name}.safetensors")[0]["srgan_dist"])


def test_a_network_that_an_earlier_version_converted_is_not_called_trained(tmp_path):
    notes = {"label": "RealESRGAN", "scale": 2, "degradation": "unknown"}
    save_generator(tmp_path / "old.safetensors", COMPACT.build(2), COMPACT, notes)

    export(ExportOptions(source=tmp_path / "old.safetensors", out=tmp_path / "new.safetensors"))

    assert "converted from old.safetensors" in (tmp_path / "new.safetensors.md").read_text()


def test_the_discriminator_of_a_checkpoint_is_exported_for_another_run(tmp_path):
    run, config = tmp_path / "run", UNetDiscriminatorConfig(channels=4)
    networks = [{"network": {}}, {"network": config.build(16).state_dict()}]
    checkpoint.save(run / "checkpoints", 5, {"networks": {"networks": networks}, "step": 5, "phase": 1}, 2, None)
    settings = replace(preset("real-esrgan-x4"), discriminator=config, run_dir=run)
    (run / "config.json").write_text(dump(settings))

    lines = export(ExportOptions(source=run, at="5", out=tmp_path / "d.safetensors", discriminator=True))

    again = config.build(16)
    load_discriminator_weights(again, tmp_path / "d.safetensors")
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in networks[1]["network"].items())
    assert "--discriminator-weights" in lines[0]
    with pytest.raises(UsageError, match="--discriminator needs a run directory"):
        main_of_export([str(run), "--out", str(tmp_path / "d.onnx"), "--discriminator"])


@pytest.mark.slow
@pytest.mark.skipif(not CAN_EXPORT, reason="the exporter of torch 2.8 is refused")
def test_two_formats_in_one_folder_have_a_card_each(tmp_path):
    source = model(tmp_path, COMPACT, 2)

    export(ExportOptions(source=source, out=tmp_path / "net.safetensors"))
    export(ExportOptions(source=source, out=tmp_path / "net.onnx", format="onnx"))

    assert "srgan upscale" in (tmp_path / "net.safetensors.md").read_text()
    assert "onnxruntime" in (tmp_path / "net.onnx.md").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "there is no such model file"),
        ([], "name one SOURCE"),
    ],
)
def test_errors_of_the_command_are_one_line(tmp_path, args, message, capsys):
    code = main(["export", *args, "--out", str(tmp_path / "out.safetensors")])

    assert code == (1 if args else 2)  # the second is wrong usage
    assert message in capsys.readouterr().err


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as an upload of small files needs."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls[self.path] = body
        if self.path == "/api/repos/create":
            answer = {"url": f"http://{self.headers['Host']}/someone/model", "name": "someone/model", "id": "1"}
        elif "/preupload/" in self.path:
            names = [f["path"] for f in json.loads(body)["files"]]
            answer = {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        else:
            answer = {
                "commitUrl": f"http://{self.headers['Host']}/someone/model/commit/1",
                "commitOid": "1",
                "commitId": "1",
            }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        """Older clients ask for the repository's state first."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        content = json.dumps({"id": "someone/model", "xetEnabled": False}).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_push_uploads_the_file_and_the_card_in_one_commit(tmp_path, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    server.calls = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)  # read once, at import
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    out = tmp_path / "out.safetensors"

    lines = export(ExportOptions(source=model(tmp_path, COMPACT, 2), out=out, push="someone/model"))
    server.shutdown()

    commit = next(body for path, body in server.calls.items() if "/commit/" in path)
    uploaded = [json.loads(line)["value"]["path"] for line in commit.splitlines() if json.loads(line)["key"] == "file"]
    assert sorted(uploaded) == ["README.md", "out.safetensors"]
    assert lines[-1].startswith("uploaded: ")


def test_push_without_a_hub_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(ValueError, match=r"--push someone/model: .*hf auth login"):
        export(ExportOptions(source=model(tmp_path, COMPACT, 2), out=tmp_path / "o.safetensors", push="someone/model"))
