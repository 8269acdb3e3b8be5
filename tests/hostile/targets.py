"""The parsers of files of other people: valid examples, how they are changed, and every command that opens them."""

import bz2
import functools
import gzip
import io
import json
import lzma
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as save_safetensors

from srgan_dist.data.config import DataConfig
from srgan_dist.data.loading.feed import open_data
from srgan_dist.data.packing.pack import PackOptions, pack
from srgan_dist.data.packing.sources import FolderSource
from srgan_dist.data.shards.npy import decode_npy
from srgan_dist.evaluation.evaluation_set import open_evaluation_set
from srgan_dist.imaging import images
from srgan_dist.imaging.photo import read_photo
from srgan_dist.models import CompactConfig, LightEDSRConfig, RRDBNetConfig, SRResNetConfig
from srgan_dist.models.files import load_generator, load_weights
from srgan_dist.runs.environment import sessions
from srgan_dist.tracking.outbox import Outbox
from srgan_dist.training.config import TrainConfig, dump, read_config
from srgan_dist.training.config_checks import check
from srgan_dist.utils.addresses import join, public, redacted, with_secrets
from srgan_dist.utils.serialization import to_dict
from tests.conftest import random_image, write_images
from tests.hostile.attacks import tar_of
from tests.hostile.mutations import INTERESTING, changed_bytes, changed_tree, encoded, mostly
from tests.hostile.rule import BrokenRule, call, command

Attempt = Callable[[Path, bytes], bool]
"""Opens the content in an empty folder; returns whether it was accepted, and raises BrokenRule."""


@dataclass(frozen=True)
class Target:
    """One kind of file."""

    name: str
    inputs: st.SearchStrategy[bytes]
    outer: Callable[[bytes], bool]
    """Whether content passes the outermost check: magic number, JSON, or the first tar header."""
    attempts: tuple[Attempt, ...]
    parsers: tuple[str, ...]
    """Functions and classes that parse it, `module:name`; `module:` for the entire module."""
    hosts: Callable[[bytes], tuple[str, ...]] = lambda _: ()
    """Hosts that may be connected to."""


def tensor_of(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    return random_image(height, width, seed)


def image_bytes(kind: str, array: np.ndarray | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(tensor_of() if array is None else array).save(out, kind, **options)
    return out.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


# Manifests and shards


@functools.cache
def packed() -> Path:
    """A folder of shards: four training images and one held-out image at x2."""
    root = Path(tempfile.mkdtemp(prefix="srgan-hostile-"))
    write_images(root / "images" / "train", 4, size=(40, 48))
    write_images(root / "images" / "valid", 1, size=(40, 48), seed=9)
    pack(FolderSource(root=root / "images"), PackOptions(out=root / "shards", scale=2))
    return root / "shards"


def crops(config: DataConfig) -> object:
    batches = open_data(config, 2, 0, 0)[0].batches(2, 0, 2, torch.device("cpu"))
    try:
        return [next(batches) for _ in range(2)]
    finally:
        batches.close()


def with_shards(name: str) -> Callable[[Path, bytes], Path]:
    def place(folder: Path, content: bytes) -> Path:
        shutil.copytree(packed(), folder / "shards")
        (folder / "shards" / name).write_bytes(content)
        if not content:  # nothing at all stands for a missing file
            (folder / "shards" / name).unlink()
        return folder / "shards"

    return place


def shard_attempts(name: str) -> tuple[Attempt, ...]:
    place = with_shards(name)

    def verify(folder: Path, content: bytes) -> bool:
        return command("shards", "verify", place(folder, content))

    def train(folder: Path, content: bytes) -> bool:
        shards = place(folder, content)
        return call(lambda: crops(DataConfig(shards=(str(shards),), hr_crop=16, batch=2)))

    def skip(folder: Path, content: bytes) -> bool:
        shards = place(folder, content)
        return call(lambda: crops(DataConfig(shards=(str(shards),), hr_crop=16, batch=2, on_bad="skip")))

    def evaluate(folder: Path, content: bytes) -> bool:
        shards = place(folder, content)
        return call(lambda: open_evaluation_set(shards, 2).read(0))

    def show(folder: Path, content: bytes) -> bool:
        return command("shards", "show", place(folder, content), "--hr-crop", 16, "--out", folder / "sheet.png")

    return verify, train, skip, evaluate, show


def is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def manifests() -> st.SearchStrategy[bytes]:
    content = (packed() / "manifest.json").read_bytes()
    trees = changed_tree(json.loads(content)).map(encoded)
    return mostly(trees, changed_bytes(content))


def shard_files() -> st.SearchStrategy[bytes]:
    content = (packed() / "train-000000.tar").read_bytes()
    inside = changed_bytes(content, first=512, most=3)
    behind = st.sampled_from([b"", content + bytes(512), content[:-512], content[:-1] + b"x", content[:-3000]])
    return mostly(inside, changed_bytes(content, most=3), behind)


# Tars of other programs


def parts() -> st.SearchStrategy[bytes]:
    hr, lr = tensor_of(), tensor_of(height=24, width=32)
    valid = [
        image_bytes("png"),
        image_bytes("png", lr),
        image_bytes("webp"),
        image_bytes("jpeg", lr),
        npy_bytes(hr),
        npy_bytes(lr),
        npy_bytes(hr[:0]),
        npy_bytes(hr.astype(float)),
        b"",
        b"text",
        b"\0" * 2000,
    ]
    return st.sampled_from(valid).flatmap(lambda content: st.one_of(st.just(content), changed_bytes(content, most=2)))


NAMES = st.sampled_from(
    [
        "a.hr.png",
        "a.lr.png",
        "a.png",
        "b.hr.npy",
        "b.lr.npy",
        "b.jpg",
        "c/d.hr.png",
        "c/d.lr.png",
        "a.json",
        "a",
        ".png",
        "../a.png",
        "/a.png",
        "__x__",
        "a.hr.PNG",
        "n" * 99,
        "n" * 300 + ".png",
        "ü.png",
        "a..png",
        "b.webp",
    ]
)
KINDS = [tarfile.REGTYPE] * 8 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    """Tars with members of every type and format; some pairs, some corrupt headers, some compressed."""
    out = io.BytesIO()
    form = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    pair = {"p.hr.png": image_bytes("png"), "p.lr.png": image_bytes("png", tensor_of(height=24, width=32))}
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in pair.items() if draw(st.booleans()) else ():
            add(tar, name, content)
        for _ in range(draw(st.integers(0, 4))):
            name = draw(NAMES)
            if form == tarfile.USTAR_FORMAT:
                name = name[:99]
            add(tar, name, draw(parts()), draw(st.sampled_from(KINDS)), draw(PAX) if form == tarfile.PAX_FORMAT else {})
    content = out.getvalue()
    if draw(st.booleans()):
        content = with_header_changed(
            content, draw(st.integers(0, 511)), draw(st.integers(0, 255)), draw(st.booleans())
        )
    if draw(st.integers(0, 3)) == 0:
        content = draw(changed_bytes(content, most=2))
    pack_ = draw(st.sampled_from([lambda c: c] * 7 + [gzip.compress, bz2.compress, lzma.compress]))
    return pack_(content)


PAX = st.dictionaries(
    st.sampled_from(["size", "path", "GNU.sparse.size", "GNU.sparse.map", "GNU.sparse.major", "GNU.sparse.minor", "x"]),
    st.sampled_from(["0", "-1", "5", "99999999999999999999", "1e9", "a", "../x", "0,1", "1"]),
    max_size=2,
)


def add(
    tar: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE, pax: dict | None = None
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.pax_headers = kind, "target", pax or {}
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(content) if info.size else None)


def with_header_changed(content: bytes, at: int, byte: int, valid_sum: bool) -> bytes:
    """Change a byte of the first header, with the right checksum, which is what an attacker would write."""
    header = bytearray(content[:512])
    if len(header) < 512:
        return content
    header[at] = byte
    if valid_sum:
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content[512:]


def is_tar(content: bytes) -> bool:
    if content[:2] in (b"\x1f\x8b", b"BZ") or content[:6] == b"\xfd7zXZ\0":
        return True
    try:
        tarfile.TarInfo.frombuf(content[:512], "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:
        return True
    except (tarfile.TarError, ValueError, UnicodeError):
        return False
    return True


def in_folder(name: str) -> Callable[[Path, bytes], Path]:
    def place(folder: Path, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return place


def index_attempt(folder: Path, content: bytes) -> bool:
    in_folder("train.tar")(folder, content)
    indexed = command("shards", "index", folder)
    if indexed and not command("shards", "verify", folder):
        raise BrokenRule("what index accepted, verify refuses")
    return indexed


def stream_attempt(on_bad: str) -> Attempt:
    def stream(folder: Path, content: bytes) -> bool:
        file = in_folder("a.tar")(folder, content)
        config = DataConfig(stream=(str(file),), hr_crop=16, batch=2, on_bad=on_bad)  # type: ignore[arg-type]
        return call(lambda: crops(config))

    return stream


# Model files

NOTES = {
    "label": "tiny",
    "scale": 2,
    "degradation": "matlab-mirror",
    "license": "mit",
    "metrics": {"tiny": {"psnr_y": 30.0}},
}


@functools.cache
def networks() -> list[tuple[dict, dict]]:
    """State dicts of small networks with the headers that belong to them."""
    torch.manual_seed(0)
    configs = (
        SRResNetConfig(blocks=1, channels=4),
        RRDBNetConfig(blocks=1, channels=4, growth_channels=4),
        CompactConfig(convs=1, channels=4),
        LightEDSRConfig(blocks=1, channels=4),
    )
    names = ("srresnet", "rrdbnet", "compact", "lightedsr")
    return [
        (dict(c.build(2).state_dict()), {"generator": {"type": n} | to_dict(c)} | NOTES)
        for c, n in zip(configs, names, strict=True)
    ]


@st.composite
def states(draw: st.DrawFn) -> tuple[dict, Any]:
    """A state dict whose names and shapes are changed here and there, and a changed header."""
    state, header = draw(st.sampled_from(networks()))
    state = dict(state)
    for _ in range(draw(st.integers(0, 2))):
        if not state:
            break
        name = draw(st.sampled_from(sorted(state)))
        match draw(st.sampled_from(["shape", "rename", "remove", "type", "number"])):
            case "shape":
                shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 9, 12, 64]), max_size=4))
                state[name] = torch.zeros(shape)
            case "rename":
                new = draw(
                    st.sampled_from(
                        [
                            "x",
                            "",
                            name + ".x",
                            "module." + name,
                            "body.99.rdb1.conv1.weight",
                            "model.0.weight",
                            "model.1.sub.0.RDB1.conv1.0.weight",
                            "params",
                        ]
                    )
                )
                state[new] = state.pop(name)
            case "remove":
                del state[name]
            case "type":
                kind = draw(
                    st.sampled_from(
                        [torch.float16, torch.int64, torch.bool, torch.float64, torch.uint8, torch.bfloat16]
                    )
                )
                state[name] = torch.zeros(state[name].shape, dtype=kind)
            case _:
                old, new = draw(st.sampled_from([("0", "7"), ("0", "99999999999"), ("1", "0"), ("weight", "bias")]))
                state[name.replace(old, new)] = state.pop(name)
    return state, draw(st.one_of(st.just(header), changed_tree(header)))


@st.composite
def safetensors_files(draw: st.DrawFn) -> bytes:
    state, header = draw(states())
    notes = {"srgan_dist": encoded(header).decode(), "format": "pt"} if draw(st.booleans()) else {"format": "pt"}
    content = save_safetensors({k: v.contiguous() for k, v in state.items()}, notes)
    length = int.from_bytes(content[:8], "little")
    choice = draw(st.integers(0, 5))
    if choice == 0:
        return draw(changed_bytes(content))
    if choice == 1:  # the library's own header
        tree = encoded(draw(changed_tree(json.loads(content[8 : 8 + length]))))
        return len(tree).to_bytes(8, "little") + tree + content[8 + length :]
    return content


def is_safetensors(content: bytes) -> bool:
    length = int.from_bytes(content[:8], "little")
    return 0 < length <= len(content) - 8 and is_json(content[8 : 8 + length])


@st.composite
def pth_files(draw: st.DrawFn) -> bytes:
    state, _ = draw(states())
    content: Any = dict(state)
    match draw(st.integers(0, 7)):
        case 0:
            content = {draw(st.sampled_from(["params_ema", "params", "state_dict", "model", "x"])): content}
        case 1:
            content = {"a": draw(INTERESTING)} | content
        case 2:
            content = draw(st.sampled_from([[1], torch.zeros(2), "x", None, 5, {5: 6}, {}]))
        case 3 if state:
            content[sorted(state)[0]] = torch.zeros(1).expand(draw(st.sampled_from([2, 1 << 20, 1 << 40])))
        case 4 if state:
            content[sorted(state)[0]] = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (4,))
        case _:
            pass
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=draw(st.integers(0, 3)) > 0)
    return draw(st.one_of(st.just(out.getvalue()), st.just(out.getvalue()), changed_bytes(out.getvalue(), first=2)))


def is_pth(content: bytes) -> bool:
    return content[:2] in (b"PK", b"\x80\x02")


def model_attempts(name: str) -> tuple[Attempt, ...]:
    place = in_folder(name)

    def load(folder: Path, content: bytes) -> bool:
        file = place(folder, content)
        return call(lambda: load_generator(file).network(torch.zeros(1, 3, 16, 16)))

    def export(folder: Path, content: bytes) -> bool:
        return command("export", place(folder, content), "--out", folder / "out" / "a.safetensors")

    def initialize(folder: Path, content: bytes) -> bool:
        file = place(folder, content)
        return call(lambda: load_weights(SRResNetConfig(blocks=1, channels=4).build(2), file))

    return load, export, initialize


@functools.cache
def onnx_example() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    lr, sr = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, "h", "w"]) for n in ("lr", "sr"))
    graph = helper.make_graph([helper.make_node("Identity", ["lr"], ["sr"])], "g", [lr], [sr])
    return onnx.helper.make_model(graph).SerializeToString()


# Images


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    """Real images in every format of the program, changed behind their magic numbers."""
    rgb = tensor_of(draw(st.integers(0, 3)))
    gray16 = (rgb[:, :, 0].astype(np.uint16) * 257).astype(np.uint16)
    kind, options = draw(
        st.sampled_from(
            [
                ("png", {}),
                ("jpeg", {}),
                ("jpeg", {"progressive": True}),
                ("webp", {}),
                ("webp", {"lossless": True}),
                ("tiff", {}),
                ("tiff", {"compression": "tiff_lzw"}),
                ("bmp", {}),
                ("gif", {}),
            ]
        )
    )
    array = draw(
        st.sampled_from(
            [
                rgb,
                rgb,
                rgb[:, :, 0],
                gray16 if kind in ("png", "tiff") else rgb,
                np.dstack([rgb, rgb[:, :, 0]]) if kind in ("png", "webp", "tiff") else rgb,
            ]
        )
    )
    content = image_bytes(kind, array, **options)
    if draw(st.booleans()):
        content = draw(changed_bytes(content, first=12, most=3))
    if kind == "png" and len(content) > 33 and draw(st.integers(0, 2)) == 0:  # a size that is not that of the pixels
        import zlib

        size = b"".join(
            draw(st.sampled_from([0, 1, 48, 64, 65, 9000, 40_000, 2**31 - 1])).to_bytes(4, "big") for _ in "wh"
        )
        body = b"IHDR" + size + content[24:29]
        content = content[:12] + body + zlib.crc32(body).to_bytes(4, "big") + content[33:]
    return content


def is_image(content: bytes) -> bool:
    return content.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8"))


def read_image(folder: Path, content: bytes) -> bool:
    file = in_folder("a.png")(folder, content)
    return call(lambda: images.read(file))


def decode_image(folder: Path, content: bytes) -> bool:
    del folder
    return call(lambda: images.decode(content, "a"))


def photo_attempt(folder: Path, content: bytes) -> bool:
    file = in_folder("a.tif")(folder, content)
    return call(lambda: read_photo(file))


def evaluate_image(folder: Path, content: bytes) -> bool:
    (folder / "hr").mkdir()
    in_folder("hr/a.png")(folder, content)
    return call(lambda: open_evaluation_set(folder / "hr", 2).read(0))


# .npy


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    array = draw(
        st.sampled_from(
            [
                tensor_of(),
                tensor_of()[:1, :1],
                tensor_of().astype(float),
                tensor_of()[:, :, 0],
                np.asfortranarray(tensor_of()),
                np.zeros((0, 3, 3), np.uint8),
            ]
        )
    )
    content = npy_bytes(array)
    if draw(st.booleans()):
        end = 10 + int.from_bytes(content[8:10], "little")
        old, new = draw(
            st.sampled_from(
                [
                    (b"48", b"-1"),
                    (b"48", b"99"),
                    (b"64", b"9999999"),
                    (b"|u1", b"|O"),
                    (b"False", b"True"),
                    (b"(", b"(((("),
                    (b"'shape'", b"'x'"),
                    (b"}", b" "),
                    (b"3", b"4"),
                ]
            )
        )
        content = content[:10] + content[10:end].replace(old, new).ljust(end - 10)[: end - 10] + content[end:]
    return draw(st.one_of(st.just(content), st.just(content), changed_bytes(content, first=6)))


def is_npy(content: bytes) -> bool:
    return content[:6] == b"\x93NUMPY"


def decode_npy_attempt(folder: Path, content: bytes) -> bool:
    del folder
    return call(lambda: decode_npy(content, "a"))


def npy_stream(folder: Path, content: bytes) -> bool:
    return stream_attempt("skip")(folder, tar_of({"a.hr.npy": content}))


# Configurations and other JSON of a run


def configurations() -> st.SearchStrategy[bytes]:
    tree = json.loads(dump(TrainConfig()))
    trees = changed_tree(tree).map(encoded)
    yaml = st.sampled_from(
        [
            b"a: &a [*a]",
            b"? {a: b}\n: c",
            b"!!python/name:os.system",
            b"--- \n---",
            b"a: b: c",
            b"seed: 0o7",
            b"seed: 1:2:3",
            b"- a",
            b"\t",
            b"%YAML 9",
        ]
    )
    return mostly(trees, changed_bytes(encoded(tree)), yaml)


def is_yaml(content: bytes) -> bool:
    import yaml

    try:
        return isinstance(yaml.safe_load(content), dict)
    except Exception:
        return False


def config_attempt(folder: Path, content: bytes) -> bool:
    file = in_folder("config.yaml")(folder, content)
    return call(lambda: check(read_config(file)))


def resume_attempt(folder: Path, content: bytes) -> bool:
    file = in_folder("config.json")(folder, content)
    (folder / "models").mkdir()
    return call(lambda: load_generator(file.parent))


def config_data_attempt(folder: Path, content: bytes) -> bool:
    """What a configuration names is opened as a run would, with the data that lies there."""
    file = in_folder("config.yaml")(folder, content)

    def opened() -> None:
        config = read_config(file)
        check(config)
        open_data(config.data, config.scale, config.seed, 0)

    return call(opened)


def records() -> st.SearchStrategy[bytes]:
    session = {
        "started": "now",
        "command": "srgan train",
        "folder": "/x",
        "host": "h",
        "system": "s",
        "world_size": 2,
        "precision": "no",
        "device": {"type": "cpu", "name": "x"},
        "versions": {"torch": "2.9"},
        "git": {"commit": "0" * 40, "dirty": True},
        "data": {"a": "0" * 64},
        "patch": "a.patch",
    }
    item = {"kind": "artifact", "file": "config.json", "folder": None, "sessions": [session]}
    trees = changed_tree(item).map(encoded)
    return mostly(trees, changed_bytes(encoded(item)))


def sessions_attempt(folder: Path, content: bytes) -> bool:
    in_folder("environment.json")(folder, content)
    return call(lambda: sessions(folder))


def outbox_attempt(folder: Path, content: bytes) -> bool:
    in_folder("00000001.json")(folder, content)
    return call(lambda: Outbox(folder, 1 << 20).items())


# Addresses

SCHEMES = [
    "http",
    "https",
    "HTTP",
    "file",
    "ftp",
    "gopher",
    "simplecache::http",
    "zip",
    "pipe",
    "memory",
    "hf",
    "data",
    "",
]
WORDS = [
    "127.0.0.1:9",
    "u:SECRET@127.0.0.1:9",
    "127.0.0.1:9?s=SECRET",
    "127.0.0.1:99999",
    "[::1",
    "",
    "a b",
    "x" * 300,
    "%00",
    "{0..3}",
    "{0..99999999999}",
    "{a,{b,c}}",
    "..",
    "#SECRET",
    "\n",
    "é",
    "::file:///etc/passwd",
    "@",
    "touch x",
]


@st.composite
def addresses(draw: st.DrawFn) -> bytes:
    scheme, words = draw(st.sampled_from(SCHEMES)), draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
    separator = draw(st.sampled_from(["://", "://", "://", ":", "::", ""]))
    if scheme == "hf" and separator == "://":
        scheme = "https"  # the Hub itself is not part of these tests
    return f"{scheme}{separator}{'/'.join(words)}".encode(errors="replace")


def looks_like_url(content: bytes) -> bool:
    return b"://" in content


def hosts_of(content: bytes) -> tuple[str, ...]:
    try:
        return (urlsplit(content.decode()).hostname or "", "127.0.0.1")
    except ValueError:
        return ()


def address_attempt(field: str) -> Attempt:
    def opened(folder: Path, content: bytes) -> bool:
        os.chdir(folder)
        address: Any = {field: (content.decode(),)}
        return call(lambda: crops(DataConfig(**address, hr_crop=16, batch=2)))

    return opened


def text_attempt(folder: Path, content: bytes) -> bool:
    del folder
    text = content.decode()

    def properties() -> None:
        shown = public(text)
        assert public(shown) == shown, shown
        path = re.split(r"[?#]", text.partition("://")[2])[0].partition("/")[2]  # not secret by definition
        is_one = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
        assert "SECRET" not in shown or not is_one or "SECRET" in path, shown
        assert redacted(redacted(text)) == redacted(text)
        assert with_secrets(text) == text

    try:
        properties()
    except AssertionError as error:
        raise BrokenRule(f"property: {error}") from None
    return call(lambda: join(text, "a.tar"))


LOADING, SHARDS = "srgan_dist.data.loading", "srgan_dist.data.shards"
FILES, WEIGHTS = "srgan_dist.models.files", "srgan_dist.models.weight_files"
MODELS = (
    f"{WEIGHTS}:read_model_file",
    f"{FILES}:_config_of",
    f"{FILES}:_restore",
    f"{FILES}:_from_file",
    f"{FILES}:_from_weights",
    "srgan_dist.models.build_limit:",
    "srgan_dist.models.state_dicts:load_compatible_state_dict",
    "srgan_dist.models.state_dicts:unwrapped",
    "srgan_dist.models.state_dicts:_count",
)


@functools.cache
def targets() -> list[Target]:
    return [
        Target(
            "manifest",
            manifests(),
            is_json,
            shard_attempts("manifest.json"),
            tuple(
                f"{SHARDS}.manifest_parser:{name}"
                for name in ("parse_manifest", "_parse", "parse_shard", "_samples", "_check_positions", "_require")
            ),
        ),
        Target(
            "shard",
            shard_files(),
            is_tar,
            shard_attempts("train-000000.tar"),
            (f"{SHARDS}.verify:faults", f"{SHARDS}.verify:_corrupt_samples", f"{SHARDS}.verify:_TarContents"),
        ),
        Target(
            "tar",
            tars(),
            is_tar,
            (index_attempt, stream_attempt("stop"), stream_attempt("skip")),
            (
                "srgan_dist.data.packing.index:",
                f"{SHARDS}.tars:members",
                f"{SHARDS}.tars:CheckedTarInfo",
                f"{LOADING}.tar_stream:tar_samples",
                f"{LOADING}.tar_stream:_images",
                f"{LOADING}.webdataset_stream:decode_pair",
                f"{LOADING}.webdataset_stream:_part",
            ),
        ),
        Target("safetensors", safetensors_files(), is_safetensors, model_attempts("a.safetensors"), MODELS),
        Target(
            "pth",
            pth_files(),
            is_pth,
            model_attempts("a.pth"),
            (f"{WEIGHTS}:_read_torch", f"{WEIGHTS}:_check_archive", "srgan_dist.models.build_limit:check_storage"),
        ),
        Target(
            "onnx",
            changed_bytes(onnx_example()),
            lambda c: c[:1] == b"\x08",
            model_attempts("a.onnx"),
            (),  # no command reads ONNX: each refuses it as a file of weights
        ),
        Target("npy", npy_files(), is_npy, (decode_npy_attempt, npy_stream), (f"{SHARDS}.npy:",)),
        Target(
            "image",
            image_files(),
            is_image,
            (read_image, decode_image, evaluate_image, photo_attempt),
            (
                "srgan_dist.imaging.images:read",
                "srgan_dist.imaging.images:decode",
                "srgan_dist.imaging.opening:named_errors",
                "srgan_dist.imaging.images:to_rgb",
            ),
        ),
        Target(
            "configuration",
            configurations(),
            is_yaml,
            (config_attempt, config_data_attempt, resume_attempt),
            (
                "srgan_dist.utils.untrusted:parse_yaml",
                "srgan_dist.utils.untrusted:_check_plain",
                "srgan_dist.training.config:read_config",
                "srgan_dist.utils.serialization:from_dict",
                "srgan_dist.utils.serialization:_untagged",
            ),
        ),
        Target(
            "record",
            records(),
            is_json,
            (sessions_attempt, outbox_attempt),
            (
                "srgan_dist.runs.environment:sessions",
                "srgan_dist.runs.environment:_checked",
                "srgan_dist.tracking.outbox:Outbox.items",
            ),
        ),
        Target(
            "address",
            addresses(),
            looks_like_url,
            (address_attempt("shards"), address_attempt("stream"), text_attempt),
            (
                "srgan_dist.utils.addresses:public",
                "srgan_dist.utils.addresses:join",
                f"{SHARDS}.remote:check_scheme",
                f"{LOADING}.tar_stream:check_stream",
                f"{LOADING}.tar_stream:expand",
                f"{LOADING}.tar_stream:_alternatives",
            ),
            hosts_of,
        ),
    ]
