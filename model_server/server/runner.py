"""The runner of the engine: threads that load it, generate with it, and encode its images."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from model_server.contract.images import encode_image
from model_server.contract.schemas import (
    MAX_SEED,
    GenerateRequest,
    GenerateResponse,
    ResponseImage,
)
from model_server.engines.protocol import Engine
from model_server.server.metrics import Metrics


class EngineRunner:
    """Runs an engine in threads of its own, which keeps the event loop free."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self.engine = engine
        self.ready = False
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(engine.concurrency, thread_name_prefix=engine.name)

    async def load(self) -> None:
        """Load the engine; raises what the engine raises."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self.engine.load)
        self.ready = True

    async def generate(self, request: GenerateRequest) -> bytes:
        """Generate the images of `request` and return a GenerateResponse as JSON.

        Raises EngineClosedError, EngineMemoryError.
        """
        self._metrics.waiting.inc()
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._generate_json, request
        )

    def close(self) -> None:
        """Stop the engine; the requests that run or wait fail with EngineClosedError."""
        self.ready = False
        self.engine.close()
        self._threads.shutdown(wait=False)

    def _generate_json(self, request: GenerateRequest) -> bytes:
        self._metrics.waiting.dec()
        with self._metrics.running.track_inprogress():
            response = self._generate(request)
        self._metrics.count_images(response)
        return response.model_dump_json().encode()

    def _generate(self, request: GenerateRequest) -> GenerateResponse:
        started = time.perf_counter()
        seeds = request.resolve_seeds(lambda: 1 + secrets.randbelow(MAX_SEED))
        generated = self.engine.generate(request, seeds=seeds, init_image=_init_image(request))
        images = [
            ResponseImage(
                image_b64=encode_image(image, request.image_encoding) if image else None,
                removed_for_safety=image is None,
                seed=seed,
                safety_score=score,
            )
            for seed, (image, score) in zip(seeds, generated, strict=True)
        ]
        elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
        return GenerateResponse(images=images, prediction_time_ms=elapsed_ms)


def _init_image(request: GenerateRequest) -> Image.Image | None:
    """Return the init image in the size of the output; None when `strength` 1 would ignore it."""
    if request.init_image is None or request.strength == 1:
        return None
    return request.init_image.resize((request.width, request.height), Image.Resampling.LANCZOS)
