"""What stands where, and what may import what: docs/explanation/architecture.md as rules."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "srgan_dist"

CHAPTERS = (
    "utils",
    "imaging",
    "distributed",
    "runs",
    "models",
    "data",
    "tracking",
    "inference",
    "evaluation",
    "training",
    "cli",
)
"""From the bottom: a chapter imports itself and those before it."""
DATA_FLOORS = {"packing": {"shards"}, "loading": {"shards", "degradations"}, "shards": set(), "degradations": set()}
"""The folders of data/, and which of the others each may import."""
AT_THE_TOP = {
    "__init__": "the version and the public face",
    "__main__": "python -m srgan_dist",
    "served": "the name stands in MLflow models that were logged before the move",
    "spandrel_srresnet": "the name stands in published model cards",
}
MOST_FILES = 25

HOMES = {
    "cattrs": ("utils/serialization.py",),
    "mlflow": ("tracking/",),
    "webdataset": ("data/loading/tar_stream.py",),
    "spandrel": ("models/",),
    "onnx": ("models/onnx_export.py",),
    "onnxruntime": ("models/onnx_export.py",),
    "pyiqa": ("evaluation/perceptual.py",),
    "jinja2": ("evaluation/report.py",),
    "tifffile": ("imaging/tiff.py",),
    "imagecodecs": ("imaging/jpeg2000.py",),
    "pillow_heif": ("imaging/heif.py",),
    "filelock": ("utils/file_lock.py", "tracking/"),
    "accelerate": ("distributed/", "training/"),
    "tqdm": ("utils/progress.py", "data/packing/div2k.py"),
}
"""Third-party libraries that one file or chapter stands in front of."""

LATE_IMPORTS = ("cli/", "tracking/", "__init__.py")
"""Where a function may import other modules of the package: commands start fast, MLflow loads late."""

MIRRORED_ELSEWHERE = {
    "test_layout.py": "rules about the whole tree",
    "test_public_face.py": "what the package itself offers",
    "test_old_files.py": "files written before the move into chapters, by all chapters",
    "training/test_hot_path.py": "what a step asks of the device, from the batch to the meter",
    "models/test_generators.py": "the contract that every generator keeps",
    "tracking/test_outages.py": "the whole chapter while its server is away",
    "tracking/test_faults.py": "the whole chapter while its server or its database fails",
    "tracking/test_ui.py": "MLflow's own pages in a browser",
    "benchmarks/test_gpu.py": "mirrors benchmarks/",
    "benchmarks/test_notebook_baseline.py": "mirrors benchmarks/",
    "benchmarks/test_quality.py": "mirrors benchmarks/",
    "launch/test_launchers.py": "mirrors launch/",
    "launch/test_notebook.py": "mirrors launch/",
    "cli/test_mistakes.py": "wrong usage of every command",
    "docs/test_reference.py": "mirrors docs/",
    "docs/test_stage.py": "mirrors docs/",
    "test_packaging.py": "what is installed: packages, the image, the workflows that make them",
}
"""Tests that mirror no single module, and what they are about instead."""


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(f): f for f in sources()}


def imported(file: Path) -> Iterator[tuple[str, int]]:
    """Modules of the package that a file imports anywhere, also inside functions, each with its line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.startswith("srgan_dist"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srgan_dist"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in MODULES else str(node.module)), node.lineno


def chapter(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def floor(module: str) -> str:
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "data" and parts[2] in DATA_FLOORS else ""


def test_a_chapter_imports_only_chapters_below_it():
    upward = [
        f"{name_of(file)}:{line} imports {module}"
        for file in sources()
        if chapter(name_of(file)) in CHAPTERS
        for module, line in imported(file)
        if module != "srgan_dist"  # the version
        and (
            chapter(module) not in CHAPTERS or CHAPTERS.index(chapter(module)) > CHAPTERS.index(chapter(name_of(file)))
        )
    ]

    assert not upward


def test_packing_and_loading_stand_on_shards_and_not_on_each_other():
    sideways = [
        f"{name_of(file)}:{line} imports {module}"
        for file in sources()
        for module, line in imported(file)
        if floor(name_of(file)) and floor(module) not in {"", floor(name_of(file)), *DATA_FLOORS[floor(name_of(file))]}
    ]

    assert not sideways


def test_no_module_reaches_itself_through_its_imports():
    edges = {name: {m for m, _ in imported(f)} - {name} for name, f in MODULES.items()}
    reachable = {name: set(targets) for name, targets in edges.items()}
    for through in edges:
        for name in edges:
            if through in reachable[name]:
                reachable[name] |= reachable[through]
    parents = {name for name, f in MODULES.items() if f.name == "__init__.py"}  # they gather what is below them

    assert not [name for name in edges if name in reachable[name] and name not in parents]


def test_only_chapters_and_named_modules_stand_at_the_top():
    folders = {f.name for f in PACKAGE.iterdir() if f.is_dir() and f.name != "__pycache__"}
    modules = {f.stem for f in PACKAGE.glob("*.py")}

    assert folders == set(CHAPTERS)
    assert modules == set(AT_THE_TOP)


def test_no_folder_holds_more_files_than_one_can_overlook():
    folders = {f.parent for f in sources()}

    assert not [str(d) for d in folders if len(list(d.glob("*.py"))) > MOST_FILES]


def test_every_command_has_a_file_of_its_name():
    from srgan_dist.cli.app import COMMANDS

    assert not [name for name in COMMANDS if not (PACKAGE / "cli" / f"{name}.py").is_file()]


HELPS = [("-m", "srgan_dist", "--help"), ("train.py", "--help"), ("-m", "srgan_dist", "pack", "--help")]


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_loads_no_torch(words: tuple[str, ...]):
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module('srgan_dist', run_name='__main__') if sys.argv[0] == '-m' else "
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: code = stop.code\n"
        "sys.exit('torch was loaded' if 'torch' in sys.modules else code)"
    )
    arguments = ["-m", *words[2:]] if words[0] == "-m" else list(words)

    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "usage" in ran.stdout


def test_the_help_of_every_command_loads_no_torch():
    """Torch takes two seconds to load, which nobody waits for to read a help text."""
    code = (
        "import sys; from srgan_dist.cli.app import COMMANDS, main; sys.stdout = open('/dev/null', 'w')\n"
        "for name in COMMANDS:\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "    told = name\n"
        "    if 'torch' in sys.modules: sys.exit(f'{name} --help loads torch')\n"
        "sys.exit(0 if told == list(COMMANDS)[-1] else f'{told} --help ended the program')"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert ran.returncode == 0, ran.stderr


def test_each_library_has_one_home():
    wrong = []
    for file in sources():
        where = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                homes = HOMES.get(name.split(".")[0])
                if homes and not where.startswith(homes):
                    wrong.append(f"{where}:{node.lineno} imports {name}")

    assert not wrong


def mirrors(test: Path) -> bool:
    """Whether `tests/CHAPTER/test_MODULE*.py` has its `srgan_dist/CHAPTER/MODULE.py`."""
    where, subject = test.relative_to(ROOT / "tests").parent, test.stem.removeprefix("test_")
    names = [f.stem for f in (PACKAGE / where).glob("*.py")] if (PACKAGE / where).is_dir() else []
    return any(subject == name or subject.startswith(f"{name}_") for name in names)


def test_tests_stand_where_their_module_stands():
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    lost = {
        str(t.relative_to(ROOT / "tests"))
        for t in tests
        if not mirrors(t) and t.relative_to(ROOT / "tests").parts[0] not in ("end_to_end", "hostile")
    }

    assert lost == set(MIRRORED_ELSEWHERE) & {str(t.relative_to(ROOT / "tests")) for t in tests}


def documents() -> list[Path]:
    named = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile"]
    below = [f for folder in ("docs", "launch", "shards", "benchmarks") for f in (ROOT / folder).rglob("*")]
    readable = {".md", ".ipynb", ".sh", ".sbatch", ".yaml", ".yml"}
    packed = {f.parent for f in (ROOT / "shards").rglob("manifest.json")}
    return [f for f in [*named, *below] if f.parent not in packed and (f in named or f.suffix in readable)]


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name inside one."""
    module = max((m for m in MODULES if dotted == m or dotted.startswith(f"{m}.")), key=len)
    found: object = importlib.import_module(module)
    for name in dotted.removeprefix(module).split(".")[1:]:
        found = getattr(found, name, None)
    return found is not None


@pytest.mark.parametrize("document", documents(), ids=lambda d: str(d.relative_to(ROOT)))
def test_names_and_links_in_documents_lead_somewhere(document: Path):
    text = document.read_text()
    dotted = set(re.findall(r"\bsrgan_dist(?:\.[a-z_A-Z]\w*)+", text))
    paths = set(
        re.findall(r"(?<![\w/])(?:srgan_dist|tests|benchmarks)/[\w/]*\w(?:\.(?:py|md|json))?(?=[\s`),.:/#\]])", text)
    )
    links = {link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link and "mailto" not in link}

    assert not {d for d in dotted if not resolves(d)}
    assert not {p for p in paths if not (ROOT / p).exists() and not (ROOT / f"{p}.py").exists()}
    assert not {link for link in links if not (document.parent / link).exists()}


def test_functions_do_not_hide_imports_of_the_package():
    hidden = []
    for file in sources():
        where = file.relative_to(PACKAGE).as_posix()
        if where.startswith(LATE_IMPORTS):
            continue
        tree = ast.parse(file.read_text())
        inside = {line for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for line in _lines(node)}
        hidden += [f"{where}:{line} imports {module}" for module, line in imported(file) if line in inside]

    assert not hidden


def _lines(node: ast.FunctionDef) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_functions_fit_on_one_screen():
    long = [
        f"{name_of(file)}:{node.lineno} {node.name}"
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and len(_lines(node)) > 50
    ]

    assert not long


PRIVATE_WORDS = (
    "Players", "Player", "Judgement", "signs(", "becoming(", "Gallery", "Exhibit", "telling_", "Keeper",
    "asked_of_launcher", "end_with_launcher", "_say_hello", "_look_around", "_culprits", "crops_a_pass",
    "whole_backward", "unsynced", "want of", "of record", "unheard", "--licence",
)  # fmt: skip
"""Words of earlier versions that no reader from outside knew."""


def test_private_words_stay_out_of_code_messages_and_documents():
    known = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    texts = [
        ROOT / name
        for name in known
        if Path(name).suffix in {".py", ".md", ".html", ".ipynb", ".toml", ".yaml", ".sh", ""}
    ]
    # The other exception reads what earlier versions have written.
    kept = {Path(__file__), ROOT / "srgan_dist" / "utils" / "renamed.py", ROOT / "tests" / "utils" / "test_renamed.py"}

    found = [
        f"{file.relative_to(ROOT)}: {word}"
        for file in texts
        if file.is_file() and file not in kept
        for word in PRIVATE_WORDS
        if word in file.read_text(errors="ignore")
    ]

    assert not found


def test_only_one_module_renames_and_syncs_files():
    calls = re.compile(r"\bos\.(replace|rename|fsync)\(|\.rename\(")

    assert [name_of(f) for f in sources() if calls.search(f.read_text())] == ["srgan_dist.utils.files"]


def test_text_files_are_opened_with_an_encoding():
    """Windows would read and write them in the encoding of its language."""
    without = [
        f"{name_of(file)}:{node.lineno}"
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and _opens_text(node) and not any(k.arg == "encoding" for k in node.keywords)
    ]

    assert not without


def _opens_text(call: ast.Call) -> bool:
    """Whether a call opens a file as text without naming an encoding by position: `read_text()`, `open(mode="a")`."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "read_text":
        return not call.args
    if name != "open" or (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
                          and function.value.id in ("os", "Image", "tarfile")):  # fmt: skip
        return False
    modes = [a.value for a in [*call.args, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
    return any(isinstance(m, str) and re.fullmatch(r"[rwax]\+?t?", m) for m in modes) or (not call.args and not modes)


POSIX_ONLY = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses"}


def test_no_file_needs_a_module_that_only_posix_has():
    needed = [
        f"{name_of(file)}:{node.lineno}"
        for file in sources()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if (isinstance(node, ast.Import) and {a.name for a in node.names} & POSIX_ONLY)
        or (isinstance(node, ast.ImportFrom) and node.module in POSIX_ONLY)
    ]

    assert not needed


def test_code_cites_no_document_outside_the_repository():
    cited = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
        if file != Path(__file__)
        for match in re.finditer(r"\b(DESIGN|PAPERS|FACTS|STYLE)(\.md\b|:| decision)", file.read_text())
    ]

    assert not cited


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(ran.stdout.split())


@pytest.mark.slow
def test_importing_the_training_configuration_leaves_the_data_stack_alone():
    own = {m for m in loaded_by("import srgan_dist.training.config") if m.startswith("srgan_dist.")}

    forbidden = ("data.shards", "data.loading", "data.packing", "imaging", "inference", "evaluation")
    assert not {m for m in own if m.startswith(tuple(f"srgan_dist.{f}" for f in forbidden))}
    assert {m for m in own if m.startswith("srgan_dist.tracking.")} <= {"srgan_dist.tracking.config"}


@pytest.mark.slow
def test_importing_presets_loads_neither_mlflow_nor_torchvision():
    assert not loaded_by("import srgan_dist, srgan_dist.training.presets") & {"mlflow", "torchvision"}


def test_the_package_itself_loads_nothing():
    loaded = loaded_by("import srgan_dist")

    assert {m for m in loaded if m.startswith("srgan_dist")} == {"srgan_dist"}


def test_the_names_in_old_files_lead_to_todays_functions():
    from srgan_dist import served, spandrel_srresnet
    from srgan_dist.inference import pyfunc
    from srgan_dist.models import spandrel_plugin

    assert served._load_pyfunc is pyfunc._load_pyfunc
    assert spandrel_srresnet.register is spandrel_plugin.register
