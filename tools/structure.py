"""python -m tools.structure: print the figures of the code's structure.

Rooms are the folders of a package, arrows are imports between its modules, and circles are modules
that import each other. import-linter holds the directions of the rooms. These figures show where
the next room is needed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import grimp

from tools import ROOT

PACKAGES: Final = {"sd3": ROOT / "layers/sd3/sd3", "model_server": ROOT / "model_server"}
CODE: Final = ("layers/sd3/sd3", "functions", "model_server", "local", "ops", "tools", "benchmarks")
LONG_FILE: Final = 250
LONG_FUNCTION: Final = 40


class Figures(NamedTuple):
    """The counts of one package."""

    modules: int
    rooms: int
    arrows: int
    room_arrows: int
    circles: int


def figures(package: str) -> Figures:
    """Count a package's modules, rooms, arrows and circles."""
    graph = grimp.build_graph(package)
    modules = graph.modules
    arrows = {(a, b) for a in modules for b in graph.find_modules_directly_imported_by(a)}
    rooms = {_room(module) for module in modules}
    room_arrows = {(_room(a), _room(b)) for a, b in arrows} - {(room, room) for room in rooms}
    circles = graph.nominate_cycle_breakers(package)
    return Figures(len(modules), len(rooms), len(arrows), len(room_arrows), len(circles))


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def long_files() -> Iterator[tuple[str, int]]:
    """Find files over LONG_FILE lines."""
    for path in _files():
        lines = len(path.read_text().splitlines())
        if lines > LONG_FILE:
            yield str(path.relative_to(ROOT)), lines


def long_functions() -> Iterator[tuple[str, int]]:
    """Find functions over LONG_FUNCTION lines, their docstrings and signatures included."""
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONG_FUNCTION:
                    yield f"{path.relative_to(ROOT)}:{node.name}", lines


def _files() -> Iterator[Path]:
    for folder in CODE:
        yield from sorted((ROOT / folder).rglob("*.py"))


def main() -> None:
    """Print all figures."""
    for package in PACKAGES:
        print(package, dict(figures(package)._asdict()))
    for name, lines in (*long_files(), *long_functions()):
        print(f"{lines:4} {name}")


if __name__ == "__main__":
    main()
