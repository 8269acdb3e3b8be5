"""What a file without weights is, told by its first bytes: a web page, a pointer, an archive or a part of a file."""

import json
import zipfile
from pathlib import Path

_HEAD = 4096
"""Bytes that are looked at."""
_SHOWN = 60
"""Characters of a text that a message quotes."""
_LFS = b"version https://git-lfs.github.com/spec/"
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<meta", b"<!--")
_AGAIN = "download the file again"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras, TensorFlow and MATLAB write it; PyTorch weights are needed"),
    (b"\x93NUMPY", "a NumPy array; PyTorch weights are needed"),
    (b"GGUF", "a GGUF model; PyTorch weights are needed"),
    (b"\x89PNG", "a PNG image; pass the model with --model and images before it"),
    (b"\xff\xd8\xff", "a JPEG image; pass the model with --model and images before it"),
    (b"GIF8", "a GIF image; pass the model with --model and images before it"),
    (b"RIFF", "an image, sound or video; pass the model with --model and images before it"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"7767517\n", "an ncnn model; pass the PyTorch file that it was converted from"),
)


def refuse_other_kinds(file: Path) -> None:
    """Raise a ValueError that says what a file is and what to do, if its first bytes show that it is not weights."""
    try:
        with file.open("rb") as content:
            head = content.read(_HEAD)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or error})") from None
    kind = _kind(file, head)
    if kind:
        raise ValueError(f"{file}: not a file of weights, but {kind}")


def is_safetensors(file: Path) -> bool:
    """Return whether a file begins like a safetensors file, whatever its name."""
    with file.open("rb") as content:
        head = content.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 28


def _kind(file: Path, head: bytes) -> str | None:
    if not head:
        return f"empty; {_AGAIN}"
    if head.startswith(_LFS):
        return "a Git LFS pointer to it; run 'git lfs pull', or download the file itself (on the Hub: 'download')"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(file)
    if is_safetensors(file):
        return _cut_safetensors(file)
    return _text_kind(head) or _onnx_kind(file, head) or _magic_kind(head)


def _magic_kind(head: bytes) -> str | None:
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model; PyTorch weights are needed"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _onnx_kind(file: Path, head: bytes) -> str | None:
    """Protocol buffers begin with the number of a field and its value: ONNX's version, TensorFlow's or a graph."""
    fields = {0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42}  # those that may follow the version
    is_message = len(head) > 2 and head[0] == 0x08 and head[2] in fields
    if (is_message and 3 <= head[1] < 32) or file.suffix.lower() == ".onnx":
        return "an ONNX model; pass the .pth or .safetensors file that it was exported from"
    if is_message and head[1] == 1:
        return "a TensorFlow model; PyTorch weights are needed"
    return None


def _text_kind(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:9].lower().startswith(_MARKUP):
        return "a web page; open its address in a browser, and download the file itself"
    try:
        text = start.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if not text or not all(c.isprintable() or c.isspace() for c in text):
        return None
    quoted = " ".join(text[: 2 * _SHOWN].split())[:_SHOWN]
    if start.startswith(b"7767517"):
        return "an ncnn model; pass the PyTorch file that it was converted from"
    if start.startswith(b"<"):
        return f"an XML page, perhaps an error message: {quoted!r}; {_AGAIN}"
    if start[:1] in (b"{", b"["):
        return f"JSON, perhaps an error message or an index: {quoted!r}; {_AGAIN}"
    return f"text: {quoted!r}; {_AGAIN}"


def _zip_kind(file: Path) -> str | None:
    if not zipfile.is_zipfile(file):
        return f"the beginning of one: {file.stat().st_size:,} bytes, and the end is missing; {_AGAIN}"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        is_program = any("/code/" in name for name in names)
        return (
            "a TorchScript program, which contains code; pass the weights that it was made from" if is_program else None
        )
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays; PyTorch weights are needed"
    if "model.weights.h5" in names:
        return "a Keras model; PyTorch weights are needed"
    return f"a ZIP archive of {', '.join(names[:3]) or 'nothing'}; unpack it and pass the file of weights in it"


def _cut_safetensors(file: Path) -> str | None:
    size = file.stat().st_size
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        header = content.read(length)
    end = 8 + length
    if len(header) == length:
        try:
            entries = json.loads(header).items()
            end += max((e["data_offsets"][1] for name, e in entries if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return None  # the library says what is wrong
    return f"the beginning of one: {size:,} of {end:,} bytes; {_AGAIN}" if size < end else None
