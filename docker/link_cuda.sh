#!/bin/sh
# Lays the libraries of NVIDIA's wheels out as a CUDA toolkit: `sh docker/link_cuda.sh VENV` makes VENV/cuda,
# which holds links, if the wheels of docker/requirements/spleeter-cuda.txt are in the virtual environment VENV.
#
# TensorFlow then takes one folder of libraries, one of programs, and one for XLA. It is also the only place
# for the name libnvrtc.so: cuDNN 8 and cuBLAS open the library by this name, the wheel has libnvrtc.so.11.2,
# and cuDNN ends the program when it does not find it.
set -eu
cd "$1"
rm -rf cuda
for nvidia in lib/python3*/site-packages/nvidia; do
    [ -d "$nvidia/cuda_nvcc" ] || continue
    mkdir -p cuda/lib cuda/bin
    for library in "$nvidia"/*/lib/*.so*; do
        ln -sr "$library" cuda/lib/
    done
    ln -s libnvrtc.so.11.2 cuda/lib/libnvrtc.so
    ln -sr "$nvidia/cuda_nvcc/bin/ptxas" cuda/bin/
    ln -sr "$nvidia/cuda_nvcc/nvvm" cuda/
done
