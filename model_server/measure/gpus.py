"""The peak throughput of GPUs."""

from typing import Final

_DENSE_BF16_TFLOPS: Final = (
    ("H100 PCIe", 756),
    ("H100 80GB HBM3", 989),
    ("H200", 989),
    ("A100", 312),
    ("L40S", 362),
    ("L4", 121),
)
"""From NVIDIA's data sheets, without sparsity; the first entry that the GPU's name holds counts."""


def find_peak_tflops(gpu: str) -> float | None:
    """Return the peak bf16 TFLOP/s of the GPU with this name; None when it is not listed."""
    return next((peak for name, peak in _DENSE_BF16_TFLOPS if name in gpu), None)
