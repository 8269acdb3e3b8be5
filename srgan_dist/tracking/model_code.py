"""The code and requirements that a logged model carries, so that loading it installs nothing under this package's name.

Until a release exists, anybody could publish a package of that name, and MLflow would install it.
"""

import ast
import importlib.util
import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

PACKAGE = "srgan_dist"
_NEEDED = ("numpy", "pillow", "safetensors", "torch", "cattrs", "psutil", "accelerate", "tqdm", "pyyaml", "jinja2")
"""Direct dependencies that the code of a model may import."""


def copy_code(module: str, out: Path) -> Path:
    """Copy a module of this package, and those that it imports, to `out`; return the copy of the package."""
    pending, done = {module}, set[str]()
    while pending:
        name = pending.pop()
        done.add(name)
        pending |= (_imported(_source(name)) | _parents(name)) - done
    for name in done:
        source = _source(name)
        target = out / Path(*name.split("."))
        target = target / source.name if source.name == "__init__.py" else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return out / PACKAGE


def requirements() -> list[str]:
    """Return the versions that are installed of what the code needs."""
    names = {
        re.split(r"[^\w.-]", r, maxsplit=1)[0].lower() for r in requires("srgan-dist") or [] if "extra ==" not in r
    }
    found: list[str] = []
    for name in sorted(names & set(_NEEDED)):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found


def _source(module: str) -> Path:
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def _parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def _imported(file: Path) -> set[str]:
    """Return the modules of this package that a file imports when it is loaded or called; not those for types only."""
    names: set[str] = set()
    tree = ast.parse(file.read_text("utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return {n for n in names if n.split(".")[0] == PACKAGE and _is_module(n)}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False
