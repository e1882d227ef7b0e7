"""Open every library that TensorFlow needs on a GPU: `python -m spleeter_mod.libraries`.

It takes no GPU, and does not start TensorFlow. A library that is missing is one line, and the exit
code is then 1. NVIDIA's driver, which comes with the machine, may be missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from contract import libraries
from contract.arguments import Parser
from contract.errors import BadFilesError, InputError, one_line

# What TensorFlow 2.12 opens, by the names of CUDA 11.8 and cuDNN 8. NCCL is a part of it.
TENSORFLOW = (
    "libcudart.so.11.0",
    "libcublas.so.11",
    "libcublasLt.so.11",
    "libcufft.so.10",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libcusparse.so.11",
    "libcudnn.so.8",
    "libcupti.so.11.8",
)
# What those open in turn: cuDNN its parts; cuDNN and cuBLAS the compiler of kernels, which opens
# its built-in functions; and CUPTI, with which TensorFlow's profiler measures, the GPU's counters.
FURTHER = (
    "libcudnn_ops_infer.so.8",
    "libcudnn_ops_train.so.8",
    "libcudnn_cnn_infer.so.8",
    "libcudnn_cnn_train.so.8",
    "libcudnn_adv_infer.so.8",
    "libcudnn_adv_train.so.8",
    "libnvrtc.so",
    "libnvrtc-builtins.so.11.8",
    "libnvperf_host.so",
)
# What XLA, which TensorFlow compiles with, runs and reads.
PTXAS = "ptxas"
LIBDEVICE = Path("nvvm/libdevice/libdevice.10.bc")
# Where XLA looks for LIBDEVICE, after the folder that XLA_FLAGS names.
TOOLKITS = ("/usr/local/cuda-11.8", "/usr/local/cuda")

REMEDY = (
    "run `make setup CUDA=1` or, for a container, build its image on a machine with GPUs: "
    "see docs/containers.md"
)


@one_line
def main() -> None:
    """Opens the libraries and says how many, or which of them could not be opened."""
    Parser(__doc__).parse_args()
    names = (*TENSORFLOW, *FURTHER)
    errors = [*libraries.errors(names, REMEDY), *_compiler_errors()]
    if errors:
        raise BadFilesError(errors)
    print(f"Spleeter: all {len(names)} libraries of CUDA open, and {PTXAS} and libdevice are there")
    print(f"Spleeter: {libraries.driver()}")


def _compiler_errors() -> list[InputError]:
    """Returns an error for each part of XLA's compiler that is missing or does not work."""
    errors = []
    if not (path := shutil.which(PTXAS)):
        errors.append(InputError(PTXAS, "is not on PATH", REMEDY))
    elif subprocess.run([path, "--version"], capture_output=True).returncode:
        errors.append(InputError(path, "does not run", REMEDY))
    folders = [*_toolkits_of_flags(os.environ.get("XLA_FLAGS", "")), *TOOLKITS]
    if not any(Path(folder, LIBDEVICE).is_file() for folder in folders):
        problem = f"is in none of {', '.join(folders)}"
        errors.append(InputError(LIBDEVICE, problem, REMEDY))
    return errors


def _toolkits_of_flags(flags: str) -> list[str]:
    """Returns the folder of CUDA that XLA's flags name, in a list that is empty if they do not."""
    return re.findall(r"--xla_gpu_cuda_data_dir=(\S+)", flags)[-1:]


if __name__ == "__main__":
    main()
