# The plain server with the bundled pair; checkpoints are mounted or downloaded, not built in.
FROM python:3.11-slim

# Where torch's build is from: an index of wheels, as torch's own site names them for CPUs and for each CUDA version
# (docker build --build-arg TORCH_INDEX=...); pip's own index if it is empty.
ARG TORCH_INDEX=""

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 HF_HOME=/checkpoints/hub

WORKDIR /build
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint constraints.txt torch torchvision
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --constraint constraints.txt . && rm -rf /build/*

RUN useradd --uid 10001 --create-home rushes && install --directory --owner rushes /checkpoints
USER rushes
WORKDIR /home/rushes

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["rushes", "serve", "--host", "0.0.0.0"]
