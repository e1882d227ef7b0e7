"""The pipeline's stages: a module for each stage of dvc.yaml, and what they share."""

import sys
from importlib.util import find_spec

if find_spec("pydantic") is None or find_spec("omegaconf") is None:
    sys.exit(
        f"ERROR: {sys.executable}: is not the pipeline's Python; "
        "run `make setup`, then `source .venv/pipeline/bin/activate`"
    )
