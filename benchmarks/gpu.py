"""First contact with a GPU: every measurement that needs one, in one command, with a report.

    python benchmarks/gpu.py [--device cuda|cpu] [--quick] [--parts NAME ...] [--out gpu-report]

Parts run one after the other, each in a process of its own with a limit of two minutes, the whole in under nine; one
that fails is reported and does not stop the others. `--device cpu --quick` runs all of them small on a CPU, so that
nothing is tried for the first time on a rented card. The report is `report.md` and `report.json`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIMIT, IN_ALL = 120, 540
"""Seconds for a part and for all of them."""
PARTS = {
    "tests": "The tests that need CUDA",
    "operations": "Operations of a step",
    "step-srgan": "A step of SRGAN",
    "step-esrgan": "A step of ESRGAN",
    "step-real-esrgan": "A step of Real-ESRGAN",
    "batch": "The largest batch",
    "data": "How long a step waits for data",
    "upscale": "Upscaling",
    "processes": "Several processes on one card",
    "kill": "Killed and resumed",
    "overflow": "Overflow in fp16",
    "trace": "Where the time of 20 steps goes",
}
PACKAGES = ("torch", "torchvision", "accelerate", "numpy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks, small images, few repetitions")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--worker", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    options.out.mkdir(parents=True, exist_ok=True)
    about, results, began = facts(options), {}, time.monotonic()
    for part in options.parts:
        left = (IN_ALL if options.device == "cuda" else 600) - (time.monotonic() - began)
        results[part] = run(part, options, min(LIMIT, left))
        write(options.out, about, results)
    print(f"\n{options.out / 'report.md'}, in {time.monotonic() - began:.0f} s")
    return 1 if any(r["failed"] for r in results.values()) else 0


def run(part: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """One part in a process of its own: its text, numbers, time, and what went wrong."""
    print(f"{part}: {PARTS[part]} ...", end=" ", flush=True)
    result = {"text": "", "numbers": {}, "seconds": 0.0, "failed": "there was no time left for it"}
    if seconds < 5:
        print(result["failed"])
        return result
    file, began = options.out / f".{part}.json", time.monotonic()
    file.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", part, "--device", options.device,
               "--out", str(options.out.resolve()), *["--quick"] * options.quick]  # fmt: skip
    try:
        ran = subprocess.run(
            command, env=environment(options, part), capture_output=True, text=True, timeout=seconds, check=False
        )
        failed = "" if ran.returncode == 0 else "\n".join((ran.stderr or ran.stdout).strip().splitlines()[-12:])
    except subprocess.TimeoutExpired:
        failed = f"took longer than {seconds:.0f} s"
    if file.exists():  # a part tells what it has after every measurement
        result |= json.loads(file.read_text("utf-8"))
        file.unlink()
    result |= {"seconds": round(time.monotonic() - began, 1), "failed": failed}
    print(f"{result['seconds']:.0f} s{' FAILED: ' + failed.splitlines()[-1] if failed else ''}", flush=True)
    return result


def work(options: argparse.Namespace) -> int:
    """Measure one part, here; what is known is written after every measurement."""
    sys.path.insert(0, str(ROOT))
    from gpu_steps import Report

    from benchmarks.gpu_parts import MEASUREMENTS

    file = options.out / f".{options.worker}.json"
    MEASUREMENTS[options.worker](Report(file), options.device, options.quick)
    return 0


def environment(options: argparse.Namespace, part: str) -> dict[str, str]:
    on_cpu = options.device == "cpu" or part == "operations"  # which are counted there
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    return os.environ | hidden | {"PYTHONPATH": paths}


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Card, driver, versions, and what was asked for."""
    import torch

    found: dict[str, Any] = {"device": options.device, "quick": options.quick, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found |= {"system": platform.platform(), "cores": os.cpu_count()}
    if options.device == "cuda":
        if not torch.cuda.is_available():
            raise SystemExit("there is no CUDA device here; --device cpu --quick tries everything on the CPU")
        card = torch.cuda.get_device_properties(0)
        found |= {"card": card.name, "memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
        found |= {"cudnn": torch.backends.cudnn.version(), "driver": driver()}
    return found


def driver() -> str:
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(out: Path, about: dict[str, Any], results: dict[str, dict[str, Any]]) -> None:
    (out / "report.json").write_text(json.dumps({"about": about, "parts": results}, indent=2))
    lines = [f"# {about.get('card', 'CPU')}", "", ", ".join(f"{name} {value}" for name, value in about.items()), ""]
    for part, result in results.items():
        lines += [f"## {PARTS[part]}", "", result["text"].rstrip(), ""] if result["text"] else [f"## {PARTS[part]}", ""]
        lines += ["Failed:", "```", result["failed"], "```", ""] if result["failed"] else []
        lines += [f"({part}, {result['seconds']:.0f} s)", ""]
    (out / "report.md").write_text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
