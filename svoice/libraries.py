"""Open every library that PyTorch needs on a GPU: `python -m svoice.libraries`.

It takes no GPU. PyTorch's CUDA build brings its libraries along; its CPU build needs none. A
library that is missing is one line, and the exit code is then 1. NVIDIA's driver, which comes with
the machine, may be missing.
"""

from __future__ import annotations

from pathlib import Path

from contract import libraries
from contract.arguments import Parser
from contract.errors import BadFilesError, InputError, one_line

# What cuDNN 9 opens from its own folder when PyTorch first computes with it.
CUDNN = "libcudnn.so.9"
CUDNN_PARTS = (
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_cnn.so.9",
    "libcudnn_adv.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_precompiled.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
)

REMEDY = (
    "remove .venv/svoice and run `make setup` or, for a container, remove its image: "
    "the next launch builds it"
)


@one_line
def main() -> None:
    """Opens the libraries and says how many, or which of them could not be opened."""
    Parser(__doc__).parse_args()
    try:
        import torch  # loads the libraries that it is linked with, CUDA's among them
    except (ImportError, OSError, ValueError) as error:
        raise InputError("torch", f"cannot be loaded ({error})", REMEDY) from None
    if not torch.version.cuda:
        print("SVoice: PyTorch's CPU build, which uses no GPU")
        return
    own = sorted(Path(torch.__file__).with_name("lib").glob("lib*.so"))
    linked = _loaded("/nvidia/")
    cudnn = [path.parent for path in linked if path.name == CUDNN]
    if not cudnn:
        raise InputError(CUDNN, "is not loaded with torch", REMEDY)
    parts = [cudnn[0] / name for name in CUDNN_PARTS]
    if errors := libraries.errors([*own, *parts], REMEDY):
        raise BadFilesError(errors)
    count = len({*own, *linked, *parts})
    print(f"SVoice: all {count} libraries of PyTorch for CUDA {torch.version.cuda} open")
    print(f"SVoice: {libraries.driver()}")


def _loaded(part: str) -> list[Path]:
    """Returns the libraries that this process has loaded and whose paths hold a text."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    # The sixth field of a line is the file that is mapped, if any.
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    return sorted(Path(path) for path in paths if part in path and ".so" in path)


if __name__ == "__main__":
    main()
