"""A machine as Colab lends it, in a folder: a Python that has everything but this package, and `google.colab`."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tests.conftest import ROOT

NOTEBOOK = ROOT / "launch" / "colab.ipynb"

_MODULES = {
    "google/colab/__init__.py": "",
    "google/colab/drive.py": """
from pathlib import Path
def mount(folder): Path(folder, "MyDrive").mkdir(parents=True, exist_ok=True)
""",
    "google/colab/userdata.py": """
import json, os
class SecretNotFoundError(Exception): pass
def get(name):
    secrets = json.loads(os.environ["COLAB_SECRETS"])
    if name not in secrets: raise SecretNotFoundError(f"Secret {name} does not exist.")
    return secrets[name]
""",
    "google/colab/output.py": """
def serve_kernel_port_as_window(port): print(f"window on port {port}")
""",
    "sitecustomize.py": "import google.colab",
}


@dataclass(frozen=True)
class Colab:
    """The machine. `content` is the folder in which the notebook starts, as /content there."""

    root: Path
    secrets: dict[str, str]

    @property
    def content(self) -> Path:
        return self.root / "content"

    @property
    def python(self) -> Path:
        return self.root / "usr" / "bin" / "python"

    def lose_everything_but_drive(self) -> None:
        """What happens when the machine is taken and another one is lent."""
        for entry in self.content.iterdir():
            if entry.name != "drive":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def run(self, parameters: str, last: str | None = None, env: dict[str, str] | None = None) -> NotebookNode:
        """Run the notebook with a cell of changed parameters behind its own, up to the section `last`.

        Raises:
            CellExecutionError: if a cell fails.
        """
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        if last:
            begin = next(i for i, c in enumerate(notebook.cells) if section(c).endswith(f" {last}"))
            end = next((i for i in range(begin + 1, len(notebook.cells)) if section(notebook.cells[i])), None)
            notebook.cells = notebook.cells[:end]
        own = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
        notebook.cells.insert(own + 1, new_code_cell(parameters))
        self._write_kernel(env or {})
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = str(self.root / "jupyter")
        try:
            resources = {"metadata": {"path": str(self.content)}}
            NotebookClient(notebook, timeout=600, kernel_name="colab", resources=resources).execute()
        finally:
            os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)
        return notebook

    def _write_kernel(self, env: dict[str, str]) -> None:
        folder = self.root / "jupyter" / "kernels" / "colab"
        folder.mkdir(parents=True, exist_ok=True)
        own = {
            "COLAB_SECRETS": json.dumps(self.secrets),
            "HOME": str(self.root / "home"),
            "PIP_CONFIG_FILE": os.devnull,  # this machine's settings have no say
            "PIP_CONSTRAINT": "",
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": str(self.root / "colab"),
            "SRGAN_CACHE": str(self.root / "cache"),
        }
        words = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": words, "display_name": "Colab", "language": "python", "env": own | env}
        (folder / "kernel.json").write_text(json.dumps(spec))


def section(cell: NotebookNode) -> str:
    """The heading with which a cell begins; an empty string without one."""
    first = str(cell.source).partition("\n")[0]
    return first if cell.cell_type == "markdown" and first.startswith("#") else ""


def shown(notebook: NotebookNode) -> str:
    """Everything that the cells have printed and displayed, as text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(o.get("text") or json.dumps(o.get("data", {})) for o in outputs)


def lend(root: Path, secrets: dict[str, str] | None = None) -> Colab:
    """Make a machine. Its packages are links to those of this Python, so that torch is not installed again."""
    venv.create(root / "usr", symlinks=True)
    packages = root / "image" / "dist-packages"
    packages.mkdir(parents=True)
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            if not entry.name.startswith(("srgan_dist", "__editable__")) and entry.suffix != ".pth":
                (packages / entry.name).symlink_to(entry)
    own = subprocess.run(
        [root / "usr/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    Path(own, "image.pth").write_text(str(packages))
    for name, text in _MODULES.items():
        file = root / "colab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    machine = Colab(root, secrets or {})
    for folder in (machine.content, root / "home"):
        folder.mkdir()
    return machine


def build_wheel(out: Path) -> None:
    """Build the package's wheel from the files that git knows, without an index."""
    source = out.parent / "source"
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, known.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*words, "--wheel-dir", str(out), str(source)], check=True)
