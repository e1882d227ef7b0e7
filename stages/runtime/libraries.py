"""`make check-gpu`: opens every library that the trainers need on a GPU, where they would run.

That is in their environments or their containers, as configuration.yaml says. It takes no GPU.
"""

from __future__ import annotations

import sys

from contract.arguments import Parser
from contract.errors import one_line
from contract.models import MODELS
from contract.params import load
from stages.runtime.launcher import run_python


@one_line
def main() -> None:
    """Has each trainer's Python open its libraries, and exits with 1 if any could not."""
    Parser(__doc__).parse_args()
    # A training that has the GPUs is not waited for.
    runtime = load().runtime.model_copy(update={"gpus": "none"})
    modules = {model: f"{MODELS[model].package}.libraries" for model in MODELS}
    codes = [run_python(model, ["-m", name], name, runtime) for model, name in modules.items()]
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
