# Prometheus, Alertmanager and Grafana with this project's configuration inside. As part of an image, its files can be
# read whatever the modes of the checkout: with mounted files, a checkout under umask 077 would not start. Each build
# step checks the configuration. After a change: docker compose up --build.
ARG PROMETHEUS_IMAGE=prom/prometheus:v3.13.3@sha256:6976aa8a60fec930796ce5772b8d12da7a318a5daa8d40d69c5c7819a05eeed7
ARG ALERTMANAGER_IMAGE=prom/alertmanager:v0.34.1@sha256:e9733bafb1bdef9b00e25a21f8f99dc26a22224bf16641ad754d1649f4c3357a
ARG GRAFANA_IMAGE=grafana/grafana:12.4.10@sha256:c132a683b2430fff9115a29b2a79c8ab97540cdcc90846e3c81878c778ca3596

FROM ${PROMETHEUS_IMAGE} AS prometheus
COPY --chown=65534:65534 docker/prometheus/prometheus.yml /etc/prometheus/
COPY --chown=65534:65534 docker/prometheus/rules /etc/prometheus/rules
ENV UQ4CT_SERVICE_URL=http://localhost:8000
RUN ["promtool", "check", "config", "/etc/prometheus/prometheus.yml"]

FROM ${ALERTMANAGER_IMAGE} AS alertmanager
COPY --chown=65534:65534 docker/prometheus/alertmanager.yml /etc/alertmanager/
RUN ["amtool", "check-config", "/etc/alertmanager/alertmanager.yml"]

FROM ${GRAFANA_IMAGE} AS grafana
COPY --chown=472:0 docker/grafana/provisioning/datasources /etc/grafana/provisioning/datasources
COPY --chown=472:0 docker/grafana/provisioning/dashboards /etc/grafana/provisioning/dashboards
COPY --chown=472:0 docker/grafana/dashboards /etc/grafana/dashboards
