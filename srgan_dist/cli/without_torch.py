"""Imports of the configuration that leave torch out, because a help text or a template computes nothing.

Torch takes two seconds to load, and a documentation builder may not have it.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_LEFT_OUT = ("torch", "torchvision")


class _Nothing(type):
    """A class whose attributes are such classes again; its instances return what they are called with."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing(name)


def _nothing(name: str) -> type:
    return _Nothing(name, (), {"__init__": lambda *_, **__: None, "__call__": lambda _, decorated=None: decorated})


class _Placeholder(ModuleType):
    """Stands for a module of torch."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        is_left_out = fullname.split(".")[0] in _LEFT_OUT
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if is_left_out else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Placeholder(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty."""


@contextmanager
def without_torch() -> Generator[None]:
    """Run a block in which `import torch` imports a placeholder, unless torch has been loaded already.

    Modules of this package that are imported in the block are forgotten after it, so that they are imported again with
    torch when something is computed. What the block has made of their classes remains usable.
    """
    if "torch" in sys.modules:
        yield
        return
    before, finder = set(sys.modules), _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in sorted(set(sys.modules) - before):
            if name.startswith("srgan_dist.") or _uses_placeholders(sys.modules[name]):
                _forget(name)


def _uses_placeholders(module: ModuleType) -> bool:
    return any(isinstance(value, (_Placeholder, _Nothing)) for value in (module, *vars(module).values()))


def _forget(name: str) -> None:
    module = sys.modules.pop(name)
    parent, _, last = name.rpartition(".")
    if vars(sys.modules.get(parent, module)).get(last) is module:
        delattr(sys.modules[parent], last)
