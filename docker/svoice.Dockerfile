# What SVoice's trainer runs in. Its code is not here: the repository is mounted.
#
# `stages/images.py` builds it, from the repository's root, once it has filled scratch/wheels/svoice
# with the wheels of docker/requirements/svoice.txt and wheels.txt, which names each with its hash.
# torch's own wheels bring the CUDA libraries; of the base they need nothing but Linux.
ARG BASE=nvidia/cuda:12.6.3-base-ubuntu22.04
FROM ${BASE} AS python
# A base may bring Python 3.10 or 3.11 along, and then no network is needed here.
RUN python3 -c 'import ensurepip' 2>/dev/null || { \
        apt-get update -q \
        && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; }

FROM python AS installed
# Of no use afterwards: so that it can be told from other images, and removed.
LABEL separation.stage=installed
COPY scratch/wheels/svoice /wheels
# pip stays in this stage: the final one installs nothing more.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/trainer \
    && /pip/bin/pip --python /opt/trainer install --no-index --no-deps --no-cache-dir \
        --find-links /wheels --require-hashes -r /wheels/wheels.txt \
    && /pip/bin/pip --python /opt/trainer check

FROM python
COPY --from=installed /opt/trainer /opt/trainer
ENV PATH=/opt/trainer/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The launcher names its caller instead; nobody is root by default.
USER 65534:65534
ENTRYPOINT []
