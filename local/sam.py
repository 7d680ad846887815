"""The real `sam build` and `sam deploy`, pointed at the embedded AWS."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from local.environment import ROOT, bare, for_building
from local.processes import Child
from ops.stacks import STACK_NAME

SAM = ROOT / ".tools/sam/bin/sam"
MINISTACK_PYTHON = ROOT / ".tools/ministack/bin/python"
ARTIFACTS_BUCKET = "sam-artifacts"

_QUIET = {"SAM_CLI_TELEMETRY": "0"}
_BUILD_HINT = (
    "The build downloads packages: pip and npm have to reach a registry.\n"
    "Then run it again; nothing that was built is lost."
)
_DEPLOY_HINT = (
    "The functions' own logs are in .local/ministack.log. If template.yaml has changed,\n"
    "`make check` says what is wrong with it; if not, `make clean` and run it again."
)


def build(state: Path, report: Callable[[str], None], *, with_c2pa: bool = False) -> Path:
    """Build for the embedded AWS's interpreter if anything has changed; return the built template.

    Without C2PA the layer of its name is empty, and nothing is downloaded for it. Raises StackError
    when the build fails.
    """
    target = state / "build"
    mark = target / ".built-from"
    templates = (ROOT / "template.yaml", ROOT / "monitoring.yaml")
    c2pa = [ROOT / "requirements/c2pa.txt"] if with_c2pa else []
    wanted = _fingerprint([*templates, *_files("functions"), *_files("layers"), *c2pa])
    if mark.is_file() and mark.read_text() == wanted:
        return target / "template.yaml"
    report("build of functions and layers")
    # SAM's cache key is the layer's folder alone, but the layers depend on these too.
    layer = _fingerprint([ROOT / "layers/bytecode.mk", *c2pa])
    cache = state / "cache" / layer[:16]
    command: list[str | Path] = [
        SAM,
        "build",
        "--cached",
        "--cache-dir",
        cache,
        "--build-dir",
        target,
    ]
    settings = {
        "LAYER_PYTHON": str(MINISTACK_PYTHON),
        "LAYER_TARGET": f"--python {MINISTACK_PYTHON}",
        "LAYER_C2PA": "yes" if with_c2pa else "no",
    }
    env = for_building(os.environ) | _QUIET | settings
    log = state / "sam-build.log"
    with Child("sam build", command, env=env, log=log, hint=_BUILD_HINT) as child:
        child.finish()
    mark.write_text(wanted)
    return target / "template.yaml"


def deploy(
    template: Path, *, aws: dict[str, str], parameters: Mapping[str, str], log: Path
) -> None:
    """Deploy a built template to the embedded AWS that `aws` (AWS_* variables) describes.

    Raises StackError when the deployment fails.
    """
    command: list[str | Path] = [
        *(SAM, "deploy", "--template-file", template, "--stack-name", STACK_NAME),
        *("--s3-bucket", ARTIFACTS_BUCKET, "--capabilities", "CAPABILITY_IAM"),
        *("--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"),
        *(f"{name}={value}" for name, value in parameters.items()),
    ]
    # SAM polls every 5 s by default, but the deployment takes about one second.
    env = bare(os.environ) | _QUIET | aws | {"SAM_CLI_POLL_DELAY": "0.2"}
    with Child("sam deploy", command, env=env, log=log, hint=_DEPLOY_HINT) as child:
        child.finish()


def _fingerprint(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in (*files, ROOT / "requirements/runtime.txt", _interpreter()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _interpreter() -> Path:
    """Return the file that names the version and home of MiniStack's interpreter."""
    return MINISTACK_PYTHON.parent.parent / "pyvenv.cfg"


def _files(folder: str) -> Iterator[Path]:
    found = (path for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
    return iter(sorted(path for path in found if path.is_file()))
