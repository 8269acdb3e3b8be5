"""The rules of the house that no linter knows."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "srgan_dist"

LAYERS = [
    {"models", "losses", "degradations", "resize", "metrics", "ema", "pictures", "schedules", "group"}
    | {"health", "statistics", "tiles", "memory", "png16", "choices", "counter", "spandrel_srresnet"}
    | {"compilation", "launcher", "startup", "journal", "adam"},
    {"steps", "data", "inference", "tiled", "photo"},
    {"flags", "config", "presets", "preset_names"},
    {"checkpoint", "tracking", "export", "comparison", "runs", "progress", "environment", "served", "out_of_memory"}
    | {"processes", "players", "meter", "validation", "consensus", "weights", "onnx_file", "modelcard", "flops"}
    | {"foreign", "galleries", "evaluation", "published", "perceptual", "curves", "report"},
    {"trainer", "rehearsal", "evaluate", "upscale", "compare", "release", "logbook", "repro"},
    {"cli", "shards_command", "__main__"},
]  # fmt: skip

HOMES = {
    "tyro": {"flags"},
    "cattrs": {"config"},
    "mlflow": {"tracking"},
    "webdataset": {"data"},
    "spandrel": {"models", "foreign", "release", "spandrel_srresnet"},
    "onnx": {"onnx_file"},
    "onnxruntime": {"onnx_file"},
    "pyiqa": {"perceptual"},
    "tifffile": {"photo"},
    "accelerate": {"processes", "players", "meter", "validation", "consensus", "trainer", "rehearsal", "logbook"},
}


def imports(file: Path) -> set[str]:
    """Modules that a file imports when it runs, inside functions too; not those for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "srgan_dist":
            found |= {f"srgan_dist.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def unit(module: str) -> str:
    """The part of the package that a module belongs to: its first name below `srgan_dist`."""
    return module.split(".")[1]


def files() -> dict[Path, str]:
    return {
        f: f.relative_to(PACKAGE).with_suffix("").parts[0]
        for f in PACKAGE.rglob("*.py")
        if f.parent != PACKAGE or f.stem != "__init__"
    }


def layer(name: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if name in names)


def test_every_module_has_a_layer_and_imports_lower_ones_only():
    wrong = []
    for file, name in files().items():
        for module in imports(file):
            if module.startswith("srgan_dist.") and unit(module) != name and layer(unit(module)) > layer(name):
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")

    assert not wrong


def test_modules_of_one_layer_do_not_import_each_other_in_circles():
    edges = {name: set() for name in files().values()}
    for file, name in files().items():
        edges[name] |= {unit(m) for m in imports(file) if m.startswith("srgan_dist.") and unit(m) != name}

    def reaches(start: str, goal: str, seen: frozenset[str] = frozenset()) -> bool:
        return any(n == goal or (n not in seen and reaches(n, goal, seen | {n})) for n in edges[start])

    assert not [name for name in edges if reaches(name, name)]


def test_each_library_has_one_home():
    wrong = []
    for file, name in files().items():
        for module in imports(file):
            home = HOMES.get(module.split(".")[0])
            if home and name not in home:
                wrong.append(f"{file.relative_to(ROOT)} imports {module}")

    assert not wrong


def test_functions_fit_on_one_screen():
    long = []
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 50:
                long.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")

    assert not long


def test_importing_the_package_loads_neither_mlflow_nor_torchvision():
    code = (
        "import srgan_dist, srgan_dist.presets, sys; print([m for m in ('mlflow', 'torchvision') if m in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout

    assert loaded.strip() == "[]"


def test_listing_the_presets_does_not_load_torch():
    code = "import sys, srgan_dist.cli as c; c.train_main(['--help']); sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False).returncode == 0
