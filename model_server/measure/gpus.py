"""What chips can do at most."""

from typing import Final

_DENSE_BF16_TFLOPS: Final = (
    ("H100 PCIe", 756),
    ("H100 80GB HBM3", 989),
    ("H200", 989),
    ("A100", 312),
    ("L40S", 362),
    ("L4", 121),
)
"""From NVIDIA's data sheets, without sparsity; the first that is in the chip's name counts."""


def find_peak_tflops(chip: str) -> float | None:
    """Return the bf16 TFLOP/s that the maker states for the chip of that name; None: not listed."""
    return next((peak for name, peak in _DENSE_BF16_TFLOPS if name in chip), None)
