"""The source files that determine a seed policy. If one of them changes, the seed policy is trained again."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from ...errors import UsageError
from .family import Family

PACKAGE = __name__.partition(".")[0]
DATA_SUFFIXES = {".css", ".html", ".js", ".pddl", ".twl2"}
"""Suffixes of data files that determine what an environment shows."""


def sources_hash(module: str, family: Family) -> str:
    """Return the hexadecimal SHA-256 of the names and contents of all files that `sources` returns."""
    digest = hashlib.sha256()
    for name, file in sorted(sources(module, family).items()):
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def sources(module: str, family: Family) -> dict[str, Path]:
    """Return the files that determine a seed policy, by names that do not depend on where packages are installed.

    From other packages that define the family or one of its functions, these are all modules and data files. From this
    package, these are the modules that the family, such a package or the training of seed policies imports, directly or
    indirectly. An environment is included as a whole, and so are the data files in the folders of included modules.

    Args:
        module: Name of the module that defines the family.
        family: The family.

    Raises:
        UsageError: The sources of a package of the family cannot be found.
    """
    values = [getattr(family, field.name) for field in fields(family)]
    modules = {module, *(str(value.__module__) for value in values if callable(value) and hasattr(value, "__module__"))}
    other_packages = {name.partition(".")[0] for name in modules} - {PACKAGE}
    own_modules = _import_closure(
        {name for name in modules if name.partition(".")[0] == PACKAGE} | {f"{__package__}.recipe"}
    )
    for package in other_packages:
        own_modules |= _import_closure(_imports_of(_files_of(package), package))
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    found = {f"{PACKAGE}/{file.relative_to(root).as_posix()}": file for file in _with_data(own_modules, root)}
    for package in other_packages:
        location = _package_path(package)
        for file in _files_of(package):
            found[f"{package}/{file.relative_to(location.parent if location.is_file() else location).as_posix()}"] = (
                file
            )
    return found


def _import_closure(names: set[str]) -> set[str]:
    """Return the named modules and the modules of this package that they import, directly or indirectly.

    All modules of an environment are included, because it loads some of them by name. A package that is only the parent
    of an included module is included without the modules that its `__init__` imports.
    """
    seen: set[str] = set()
    pending = {name for name in names if _module_file(name)}
    while pending:
        name = pending.pop()
        seen.add(name)
        file = _module_file(name)
        assert file is not None
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        pending |= {
            each for each in _imports_of([file], package) | _environment_modules(name) if _module_file(each)
        } - seen
    return seen | {name.rsplit(".", up)[0] for name in seen for up in range(1, name.count(".") + 1)}


def _environment_modules(name: str) -> set[str]:
    """Return all modules of the environment that a module belongs to; an empty set if there is none."""
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    _, *inside = name.split(".")
    folder = root.joinpath(*inside[:2])
    if inside[:1] != ["envs"] or len(inside) < 2 or not folder.is_dir():
        return set()
    return {".".join([PACKAGE, *file.relative_to(root).with_suffix("").parts]) for file in folder.rglob("*.py")}


def _imports_of(files: Iterable[Path], package: str) -> set[str]:
    """Return the names of this package's modules that files import; `from a import b` gives both `a` and `a.b`."""
    found: set[str] = set()
    for file in files:
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                full_name = (
                    f"{base}.{node.module}" if node.level and node.module else base if node.level else node.module
                )
                found |= {f"{full_name}.{alias.name}" for alias in node.names} | {str(full_name)}
    return {name for name in found if name.partition(".")[0] == PACKAGE}


def _module_file(name: str) -> Path | None:
    """Return the file of a module of this package; None if there is no such module."""
    parts = name.split(".")
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    path = root.joinpath(*parts[1:])
    choices = [path.with_suffix(".py")] if len(parts) > 1 else []
    return next((file for file in [*choices, path / "__init__.py"] if file.is_file()), None)


def _with_data(names: set[str], root: Path) -> Iterator[Path]:
    """Yield the files of modules, and the data files below their folders, except folders directly in `root`."""
    files = {file for name in names if (file := _module_file(name))}
    yield from files
    for folder in {file.parent for file in files} - {root}:
        if folder.parent != root:
            yield from (file for file in folder.rglob("*") if file.suffix in DATA_SUFFIXES)


def _package_path(package: str) -> Path:
    """Return the folder of a package, or the file of a single module; raise `UsageError` if there is neither."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UsageError(
            f"the sources of {package!r} were not found; a package with a seed family needs an __init__.py"
        )
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


def _files_of(package: str) -> list[Path]:
    location = _package_path(package)
    if location.is_file():
        return [location]
    return sorted(file for file in location.rglob("*") if file.suffix in {".py", *DATA_SUFFIXES} and file.is_file())
