"""The text in which tools of Stable Diffusion keep the parameters of an image in its file.

AUTOMATIC1111's web UI made it up. Readers know it by five keys: Steps, Sampler, CFG scale, Seed and
Size.
"""

from collections.abc import Sequence

from sd3.domain.generation import GeneratedImage
from sd3.domain.request import GenerateRequest


def parameters_of(
    request: GenerateRequest,
    generated: GeneratedImage,
    *,
    model: str | None,
    strength: float | None,
    ignored: Sequence[str],
) -> str:
    """Write the parameters of an image; `strength` is None without an init image.

    All keys stand there that readers need. Which of them the upstream did not follow, as `ignored`
    has it, is said at the end.
    """
    image = generated.image
    values = {
        "Steps": request.steps,
        "Sampler": "unknown",  # no upstream names it, and readers need the key
        "CFG scale": f"{request.cfg_scale:g}",
        "Seed": generated.seed,
        "Size": f"{image.width}x{image.height}" if image else None,
        "Denoising strength": None if strength is None else f"{strength:g}",
        "Model": model and model.replace(",", " "),
        "Not followed": " ".join(ignored) or None,
    }
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{key}: {one}" for key, one in values.items() if one is not None))
    return "\n".join(lines)
