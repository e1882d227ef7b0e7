# The environment of SVoice's trainer. Its code is not in the image: the repository is mounted.
#
# stages/runtime/images.py builds it in the repository's root, after it has gathered the wheels of
# docker/requirements/svoice.txt in scratch/wheels/svoice, with a wheels.txt that pins each by its hash.
# torch's own wheels contain the CUDA libraries: the base need not.
ARG BASE=nvidia/cuda:12.6.3-base-ubuntu22.04
FROM ${BASE} AS python
# If the base holds Python 3.10 or 3.11, this step needs no network.
RUN python3 -c 'import ensurepip' 2>/dev/null || { \
        apt-get update -q \
        && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; }

FROM python AS installed
# By this label images.py finds and removes the image of this stage, which is not needed afterwards.
LABEL separation.stage=installed
COPY scratch/wheels/svoice /wheels
# pip stays in this stage: the final one does not install anything.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/trainer \
    && /pip/bin/pip --python /opt/trainer install --no-index --no-deps --no-cache-dir \
        --find-links /wheels --require-hashes -r /wheels/wheels.txt \
    && /pip/bin/pip --python /opt/trainer check

FROM python
COPY --from=installed /opt/trainer /opt/trainer
ENV PATH=/opt/trainer/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What NVIDIA's bases say of themselves: which parts of the driver a container gets.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
# The launcher replaces this by its caller's user. By default nobody is root.
USER 65534:65534
ENTRYPOINT []
