"""Which files a seed policy depends on: edit one, and the policy is made anew."""

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
DATA = {".css", ".html", ".js", ".pddl", ".twl2"}
"""Files beside modules that shape what an environment shows."""


def sources_hash(module: str, family: Family) -> str:
    """64 hexadecimal digits of all files in `sources`, with their names."""
    digest = hashlib.sha256()
    for name, file in sorted(sources(module, family).items()):
        digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def sources(module: str, family: Family) -> dict[str, Path]:
    """The files that a family's corpus comes from, by a name that does not depend on where they lie.

    `module` is the one that holds the family. Of this package, they are the modules that it and the making of seeds
    import, directly or not, the environments among them as a whole, and the data beside them; of other packages that
    bring the family or one of its functions, all modules and data.
    """
    functions = [getattr(family, field.name) for field in fields(family)]
    brought = {module, *(str(made.__module__) for made in functions if callable(made) and hasattr(made, "__module__"))}
    foreign = {name.partition(".")[0] for name in brought} - {PACKAGE}
    own = _imported({name for name in brought if name.partition(".")[0] == PACKAGE} | {f"{__package__}.recipe"})
    for package in foreign:
        own |= _imported(_imports_of(_files_of(package), package))
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    found = {f"{PACKAGE}/{file.relative_to(root).as_posix()}": file for file in _with_data(own, root)}
    for package in foreign:
        top = _place(package)
        for file in _files_of(package):
            found[f"{package}/{file.relative_to(top.parent if top.is_file() else top).as_posix()}"] = file
    return found


def _imported(names: set[str]) -> set[str]:
    """The modules of this package that those of these names import, directly or not, themselves included.

    Of an environment all modules count: some are found by their name. Of a package that was only gone through on the
    way to one of its modules, `__init__` counts, and not what it imports for others.
    """
    seen: set[str] = set()
    todo = {name for name in names if _file(name)}
    while todo:
        name = todo.pop()
        seen.add(name)
        file = _file(name)
        assert file is not None
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        todo |= {each for each in _imports_of([file], package) | _of_its_world(name) if _file(each)} - seen
    return seen | {name.rsplit(".", up)[0] for name in seen for up in range(1, name.count(".") + 1)}


def _of_its_world(name: str) -> set[str]:
    """All modules of the environment that a module belongs to; none for what belongs to no environment."""
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    _, *inside = name.split(".")
    folder = root.joinpath(*inside[:2])
    if inside[:1] != ["envs"] or len(inside) < 2 or not folder.is_dir():
        return set()
    return {".".join([PACKAGE, *file.relative_to(root).with_suffix("").parts]) for file in folder.rglob("*.py")}


def _imports_of(files: Iterable[Path], package: str) -> set[str]:
    """Names of this package's modules that files import anywhere; of `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for file in files:
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                whole = f"{base}.{node.module}" if node.level and node.module else base if node.level else node.module
                found |= {f"{whole}.{alias.name}" for alias in node.names} | {str(whole)}
    return {name for name in found if name.partition(".")[0] == PACKAGE}


def _file(name: str) -> Path | None:
    """The file of a module of this package; None where there is no such module."""
    parts = name.split(".")
    root = Path(sys.modules[PACKAGE].__file__ or "").parent
    path = root.joinpath(*parts[1:])
    choices = [path.with_suffix(".py")] if len(parts) > 1 else []
    return next((file for file in [*choices, path / "__init__.py"] if file.is_file()), None)


def _with_data(names: set[str], root: Path) -> Iterator[Path]:
    """The files of modules, and the data in the folders of those that are not the package's own top."""
    files = {file for name in names if (file := _file(name))}
    yield from files
    for folder in {file.parent for file in files} - {root}:
        if folder.parent != root:
            yield from (file for file in folder.rglob("*") if file.suffix in DATA)


def _place(package: str) -> Path:
    """The folder of a package, or the file of a module that is none. Raises `UsageError` where there is neither."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UsageError(f"the sources of {package!r} are not found; a package of a seed family needs an __init__.py")
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


def _files_of(package: str) -> list[Path]:
    place = _place(package)
    if place.is_file():
        return [place]
    return sorted(file for file in place.rglob("*") if file.suffix in {".py", *DATA} and file.is_file())
