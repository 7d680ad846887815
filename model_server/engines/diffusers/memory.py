"""The GPU's memory as a metric."""

from collections.abc import Iterator

import torch
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class GpuMemoryCollector(Collector):
    """Reads the memory at each GET /metrics; without a GPU there is no such metric."""

    def collect(self) -> Iterator[Metric]:
        """Yield the memory of tensors now, its peak, and what PyTorch has reserved for them."""
        if not torch.cuda.is_available():
            return
        family = GaugeMetricFamily(
            "model_server_gpu_memory_bytes", "PyTorch's memory on the GPU", labels=["kind"]
        )
        family.add_metric(["allocated"], torch.cuda.memory_allocated())
        family.add_metric(["peak"], torch.cuda.max_memory_allocated())
        family.add_metric(["reserved"], torch.cuda.memory_reserved())
        yield family
