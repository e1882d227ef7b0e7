"""environments: writes what each trainer will run in; training depends on it.

results/<model>/environment.json: the runtime, the hash of the pinned requirements, the image
(in containers, built if it is missing), the interpreter's version and platform, and the version of
every package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contract import files
from contract.layout import ENVIRONMENT
from contract.models import MODELS
from contract.params import ContainerRuntime, LocalRuntime, load
from stages.run import run
from stages.runtime import engine, images, virtual_environments


def main() -> None:
    """Writes the environment files of all models, or none; missing images are built first."""
    runtime = load().runtime
    texts = {}
    for model, description in _descriptions(runtime):
        content = {
            "runtime": runtime.name,
            "requirements_sha256": virtual_environments.requirements_hash(model),
            **description,
        }
        texts[MODELS[model].results / ENVIRONMENT] = files.json_text(content)
    files.write_together(texts)


def _descriptions(runtime: LocalRuntime | ContainerRuntime) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each model with what its environment or its image holds."""
    if runtime.name == "local":
        yield from ((model, virtual_environments.description(model)) for model in MODELS)
        return
    with engine.connected(runtime.name) as client:
        for model in MODELS:
            image = images.find_or_build(client, model, runtime)
            yield model, {"image": image.tags[0], **images.description(image)}


if __name__ == "__main__":
    run(main)
