# One image for CPU and GPU: the environment, and the project beside it. Not built by the developers, who have no builder.
#   docker build --tag stiltsweep .            (TORCH=cpu makes it 4 GB smaller: --build-arg TORCH=cpu)
#   docker run --rm --volume "$PWD/results:/opt/stiltsweep/results" stiltsweep snakemake --cores 2
#   docker run --rm --gpus all --volume "$PWD/results:/opt/stiltsweep/results" stiltsweep snakemake --cores 2 --resources gpu=1
# For --profile kubernetes push it where the cluster finds it; for --sdm apptainer: apptainer build envs/stiltsweep.sif docker-daemon:stiltsweep:latest
FROM python:3.11-slim-bookworm
ARG TORCH=cuda
# git: the report says which commit it was made with; make: setup; procps: Snakemake's benchmarks.
RUN apt-get update && apt-get install --yes --no-install-recommends git make procps && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/stiltsweep
COPY Makefile pyproject.toml ./
COPY envs envs
RUN make setup TORCH=${TORCH} && .venv/bin/python -m compileall -q .venv/lib && rm -rf ~/.cache
COPY . .
# Containers often run as somebody else: digests of code are kept beside it, and git must trust the folder.
RUN git config --system --add safe.directory '*' && chmod a+rwx . && find workflow results -type d -exec chmod a+rwx {} +
ENV PATH=/opt/stiltsweep/.venv/bin:$PATH HOME=/tmp
CMD ["snakemake", "plan"]
