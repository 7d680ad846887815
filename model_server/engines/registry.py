"""The engines by name; the packages of an engine are imported only when it is chosen."""

from collections.abc import Callable
from functools import partial
from typing import Final

from model_server.engines.protocol import Engine, EngineLoadError
from model_server.settings import Settings


def _sketch(settings: Settings) -> Engine:
    from model_server.engines.sketch.engine import SketchEngine  # noqa: PLC0415

    return SketchEngine(delay_ms_per_step=settings.delay_ms_per_step)


def _diffusers(settings: Settings) -> Engine:
    try:
        from model_server.engines.diffusers.engine import DiffusersEngine  # noqa: PLC0415
        from model_server.engines.diffusers.weights import load_pipeline  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = f"the diffusers engine needs {error.name}: see model_server/README.md"
        raise EngineLoadError(msg) from error
    return DiffusersEngine(
        partial(load_pipeline, settings.weights, settings.dtype),
        offload=settings.offload,
        compiled=settings.compile,
        max_batch=settings.max_batch,
        safety_checker=settings.safety_checker,
    )


ENGINES: Final[dict[str, Callable[[Settings], Engine]]] = {
    "sketch": _sketch,
    "diffusers": _diffusers,
}
