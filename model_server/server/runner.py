"""The engine at work: loaded once, drawing in threads of its own, its pictures encoded."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from model_server.contract.images import encode
from model_server.contract.schemas import MAX_SEED, GenerateAnswer, GenerateRequest, ImageAnswer
from model_server.engines.protocol import Engine
from model_server.server.metrics import Metrics


class Studio:
    """Keeps the event loop free while an engine loads or draws."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self.engine = engine
        self.ready = False
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(engine.parallel, thread_name_prefix=engine.name)

    async def load(self) -> None:
        """Load the engine; raises whatever the engine raises."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self.engine.load)
        self.ready = True

    async def answer(self, request: GenerateRequest) -> bytes:
        """Draw what is asked for and return the JSON of a GenerateAnswer.

        Raises EngineClosedError, EngineMemoryError.
        """
        self._metrics.waiting.inc()
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._answer, request
        )

    def close(self) -> None:
        """End the engine's work; requests that wait for it get EngineClosedError."""
        self.ready = False
        self.engine.close()
        self._threads.shutdown(wait=False)

    def _answer(self, request: GenerateRequest) -> bytes:
        self._metrics.waiting.dec()
        with self._metrics.drawing.track_inprogress():
            answer = self._draw(request)
        self._metrics.count_pictures(answer)
        return answer.model_dump_json().encode()

    def _draw(self, request: GenerateRequest) -> GenerateAnswer:
        started = time.perf_counter()
        seeds = request.fix_seeds(lambda: 1 + secrets.randbelow(MAX_SEED))
        drawn = self.engine.draw(request, seeds=seeds, init_image=_init_image(request))
        images = [
            ImageAnswer(
                image_b64=encode(picture, request.image_encoding) if picture else None,
                removed_for_safety=picture is None,
                seed=seed,
                safety_score=score,
            )
            for seed, (picture, score) in zip(seeds, drawn, strict=True)
        ]
        elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
        return GenerateAnswer(images=images, prediction_time_ms=elapsed_ms)


def _init_image(request: GenerateRequest) -> Image.Image | None:
    if request.init_image is None or request.strength == 1:
        return None
    return request.init_image.resize((request.width, request.height), Image.Resampling.LANCZOS)
