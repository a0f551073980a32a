# syntax=docker/dockerfile:1
# One image for every process of this project: Ray's head and workers, Chroma, migrations, scripts.
#
#   docker build -t fashion-recommender:0.1.0 .
#   docker build -t fashion-recommender:0.1.0-cuda --build-arg VARIANT=cuda .
ARG PYTHON=3.11.14

FROM python:${PYTHON}-bookworm AS build
# cpu: PyTorch without CUDA, and OpenVINO. cuda: PyTorch with NVIDIA's libraries (several GB more).
ARG VARIANT=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/venv/bin:$PATH
WORKDIR /build
RUN python -m venv /opt/venv
COPY constraints.txt ./
RUN case "$VARIANT" in \
      cpu) pip install -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch ;; \
      cuda) pip install -c constraints.txt torch ;; \
      *) echo "VARIANT is '$VARIANT'; it must be cpu or cuda." >&2; exit 2 ;; \
    esac
# Without its packages the project is its dependencies: this layer stays as long as they do.
COPY pyproject.toml README.md LICENSE ./
RUN case "$VARIANT" in cpu) extras=cpu,s3 ;; *) extras=s3 ;; esac \
    && pip install -c constraints.txt ".[$extras]"

FROM python:${PYTHON}-slim-bookworm
RUN groupadd --gid 1000 app \
    && useradd --uid 1000 --gid app --create-home app \
    && install --directory --owner=app --group=app /models /media /data /certs
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
# Ray and Serve read theirs when they start, whoever starts them: Compose, KubeRay or a person. Those that the
# launcher sets, too, have the same values here (tests/unit/test_image.py).
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/models \
    ANONYMIZED_TELEMETRY=False \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RAY_AUTH_MODE=token \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve_app.feed_connections:middlewares \
    RAY_worker_maximum_startup_concurrency=8 \
    RAY_worker_niceness=0 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
USER 1000:1000
# Checkpoints: kept, so that a new container does not download them again.
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Alone, a container starts what it needs and keeps it in /data: a trial, not a set-up for shops.
CMD ["python", "-m", "serve_app", "--host", "0.0.0.0", "--data-dir", "/data"]
