"""The GPU's memory, for GET /metrics."""

from collections.abc import Iterator

import torch
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class GpuMemory(Collector):
    """Asked when the metrics are; without a GPU it tells nothing."""

    def collect(self) -> Iterator[Metric]:
        """Yield what tensors take now, what they took at most, and what PyTorch holds for them."""
        if not torch.cuda.is_available():
            return
        family = GaugeMetricFamily(
            "model_server_gpu_memory_bytes", "PyTorch's memory on the GPU", labels=["kind"]
        )
        family.add_metric(["allocated"], torch.cuda.memory_allocated())
        family.add_metric(["peak"], torch.cuda.max_memory_allocated())
        family.add_metric(["reserved"], torch.cuda.memory_reserved())
        yield family
