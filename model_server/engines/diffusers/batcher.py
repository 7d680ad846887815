"""How many pictures are drawn at once: as many as fit the memory."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from prometheus_client import Histogram

from model_server.engines.protocol import Drawn, EngineMemoryError

_LOG: Final = logging.getLogger("uvicorn.error")


class Batches:
    """Splits what is asked for; `largest` is halved each time that it was too much.

    It stays so: the contract's nine sizes have about as many pixels each, so what did not fit
    once will not fit the next time.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.sizes = Histogram(
            "model_server_batch_size",
            "Pictures drawn at once",
            buckets=(1, 2, 4, 8, 16),
            registry=None,
        )

    def draw(
        self, seeds: Sequence[int], draw_batch: Callable[[Sequence[int]], list[Drawn]]
    ) -> Iterator[Drawn]:
        """Draw all seeds in order; raises EngineMemoryError when a single one is too much."""
        drawn = 0
        while drawn < len(seeds):
            batch = seeds[drawn : drawn + self.largest]
            pictures = self._try(batch, draw_batch)
            if pictures is None:
                self._halve(len(batch))
                continue
            self.sizes.observe(len(batch))
            yield from pictures
            drawn += len(batch)

    def _try(
        self, batch: Sequence[int], draw_batch: Callable[[Sequence[int]], list[Drawn]]
    ) -> list[Drawn] | None:
        try:
            return draw_batch(batch)
        except torch.OutOfMemoryError:
            return None

    def _halve(self, size: int) -> None:
        """Called when the error is gone: it holds the frames, and they what filled the memory."""
        torch.cuda.empty_cache()
        if size == 1:
            raise EngineMemoryError("out of memory while drawing a single picture")
        self.largest = size // 2
        _LOG.warning("out of memory with a batch of %d: %d from now on", size, self.largest)
