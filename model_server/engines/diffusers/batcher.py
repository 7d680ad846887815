"""The batcher: it splits a request into batches that fit in memory."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch
from prometheus_client import Histogram

from model_server.engines.protocol import EngineMemoryError, GeneratedImage

_LOG: Final = logging.getLogger("uvicorn.error")


class Batcher:
    """Splits seeds into batches of at most `max_size`, and halves it when memory runs out.

    It stays halved. The contract's nine sizes have about as many pixels each, so a batch that did
    not fit once would not fit the next time either.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.sizes = Histogram(
            "model_server_batch_size",
            "Images generated in one batch",
            buckets=(1, 2, 4, 8, 16),
            registry=None,
        )

    def generate(
        self,
        seeds: Sequence[int],
        generate_batch: Callable[[Sequence[int]], list[GeneratedImage]],
    ) -> Iterator[GeneratedImage]:
        """Call `generate_batch` until all seeds are done, in order.

        Raises EngineMemoryError when a single image does not fit in memory.
        """
        done = 0
        while done < len(seeds):
            batch = seeds[done : done + self.max_size]
            images = self._try(batch, generate_batch)
            if images is None:
                self._halve(len(batch))
                continue
            self.sizes.observe(len(batch))
            yield from images
            done += len(batch)

    def _try(
        self,
        batch: Sequence[int],
        generate_batch: Callable[[Sequence[int]], list[GeneratedImage]],
    ) -> list[GeneratedImage] | None:
        """Return the images, or None when they do not fit in memory."""
        try:
            return generate_batch(batch)
        except torch.OutOfMemoryError:
            return None

    def _halve(self, size: int) -> None:
        """Free the memory and halve `max_size`.

        Call it outside the except clause: there the frames of the error still hold the memory.
        """
        torch.cuda.empty_cache()
        if size == 1:
            raise EngineMemoryError("out of memory while generating a single image")
        self.max_size = size // 2
        _LOG.warning("out of memory with a batch of %d: %d from now on", size, self.max_size)
