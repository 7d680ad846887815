"""python -m tools.artifact FOLDER: check that what was built can run on AWS Lambda."""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ELF_MAGIC: Final = b"\x7fELF"
_AARCH64: Final = 183
"""e_machine of a 64-bit ARM file, two bytes at offset 18."""
_TAGS: Final = ("cp313", "cpython-313", "abi3")
_LIBRARIES: Final = "libs"
"""End of a folder's name in which a wheel ships native libraries that are not Python extensions."""
_BYTECODE_MAGIC: Final = struct.pack("<H", 3571)
"""What a .pyc of CPython 3.13 starts with, two bytes."""
_OPTIONAL: Final = "C2paLayer"
"""The layer that only some stacks attach."""
_MAX_BYTES: Final = 110 * 2**20
"""Lambda accepts 250 MB, but a cold start takes longer for a larger artifact."""
_MAX_OPTIONAL_BYTES: Final = 25 * 2**20
"""The optional layer comes on top of what every stack has."""


def faults(folder: Path) -> Iterator[str]:
    """Find the files that cannot run on Lambda's python3.13 on arm64, one line for each."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            head = file.read(20)
        name = path.relative_to(folder)
        if head.startswith(_ELF_MAGIC):
            machine = struct.unpack_from("<H", head, 18)[0]
            if machine != _AARCH64:
                yield f"{name}: for ELF machine {machine}, not {_AARCH64} (aarch64)"
        is_extension = ".so" in path.suffixes and not path.parent.name.endswith(_LIBRARIES)
        if is_extension and not any(tag in path.name for tag in _TAGS):
            yield f"{name}: an extension with none of the tags {', '.join(_TAGS)}"
        if path.suffix == ".pyc" and head[:2] != _BYTECODE_MAGIC:
            yield f"{name}: bytecode that is not of Python 3.13"


def size(folder: Path) -> int:
    """Count the bytes of all files of a folder, unzipped."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(folder: Path) -> int:
    """Print what is wrong, or the size, and return the exit status."""
    wrong = list(faults(folder))
    optional = size(folder / _OPTIONAL)
    bytes_ = size(folder) - optional
    wrong += _excess("", bytes_, _MAX_BYTES)
    wrong += _excess(f"{_OPTIONAL}: ", optional, _MAX_OPTIONAL_BYTES)
    if not any(folder.rglob("*.py")):
        wrong.append(f"nothing was built in {folder}")
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        compiled = sum(1 for _ in folder.rglob("*.so"))
        sizes = f"{bytes_ / 2**20:.1f} MB and {optional / 2**20:.1f} of {_OPTIONAL}"
        print(f"{sizes} unzipped, {compiled} extensions, all for aarch64")
    return 1 if wrong else 0


def _excess(name: str, bytes_: int, most: int) -> list[str]:
    if bytes_ <= most:
        return []
    return [f"{name}{bytes_ / 2**20:.1f} MB unzipped, more than {most / 2**20:.0f}"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
