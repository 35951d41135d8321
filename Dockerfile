# quantd and quantctl in a slim, non-root image that writes nothing. Build context: the repository's root.
#   docker build -t quantd .
# A release says what it is, for the labels and the bill of materials:
#   docker build -t quantd:0.1.0 --build-arg QUANTD_REVISION=$(git rev-parse HEAD) \
#     --build-arg QUANTD_CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ) --build-arg QUANTD_SOURCE=URL .
#
# Both bases may be others with Debian 12's apt and libraries. A build for a GPU takes an image with nvcc as BUILD_BASE,
# names its options in CMAKE_ARGS, and where the CUDA runtime is not linked statically, an image with it as RUN_BASE.
ARG BUILD_BASE=debian:bookworm-slim
ARG RUN_BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS packages
WORKDIR /src
COPY cmake/setup.sh cmake/debian-packages.txt cmake/
RUN cmake/setup.sh build && rm -rf /var/lib/apt/lists/*

FROM packages AS build
# A builder that has a compiler cache puts it in /ccache (buildah bud -v FOLDER:/ccache): what `make build` compiled on
# Debian 12 is not compiled again, whatever folder it was in. Without one the stage just compiles.
ENV CCACHE_DIR=/ccache \
    CCACHE_BASEDIR=/src \
    CCACHE_NOHASHDIR=1 \
    LANG=C.UTF-8
COPY . .
ARG CMAKE_ARGS=""
ARG QUANTD_REVISION=unknown
RUN cmake --preset release -DQUANTD_BENCH=OFF -DQUANTD_REVISION="${QUANTD_REVISION}" ${CMAKE_ARGS} \
 && ccache --zero-stats \
 && cmake --build build/release --target quantd quantctl \
 && ccache --show-stats \
 && strip build/release/bin/quantd build/release/bin/quantctl \
 && dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' libcli11-dev nlohmann-json3-dev >build/compiled-in

FROM ${RUN_BASE} AS run
# OpenBLAS is opened at run time, by the name libopenblas.so.0; the others are linked. Nobody in this container
# becomes somebody else: no file keeps a setuid or setgid bit.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates libcivetweb1 libgrpc++1.51 libisal2 libopenblas0-pthread libprometheus-cpp-core1.0 libssl3 \
      libxxhash0 libyaml-cpp0.7 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/*.log \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin quantd \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /src/build/release/bin/quantd /src/build/release/bin/quantctl /usr/local/bin/
ARG QUANTD_VERSION=0.1.0
ARG QUANTD_REVISION=unknown
ARG QUANTD_CREATED=1970-01-01T00:00:00Z
ARG QUANTD_SOURCE=""
ARG RUN_BASE
COPY --from=build /src/deploy/image/sbom.sh /src/build/compiled-in /usr/share/quantd/
RUN cd /usr/share/quantd \
 && ./sbom.sh "${QUANTD_VERSION}" "${QUANTD_REVISION}" "${QUANTD_CREATED}" compiled-in sbom.spdx.json \
 && rm sbom.sh compiled-in
LABEL org.opencontainers.image.title="quantd" \
      org.opencontainers.image.description="Stateless gRPC service that quantizes neural network weights" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${QUANTD_VERSION}" \
      org.opencontainers.image.revision="${QUANTD_REVISION}" \
      org.opencontainers.image.created="${QUANTD_CREATED}" \
      org.opencontainers.image.source="${QUANTD_SOURCE}" \
      org.opencontainers.image.base.name="${RUN_BASE}"
# Reachable from outside the container; quantd then insists on --tls-cert and --tls-key, or on --insecure.
ENV QUANTD_LISTEN=0.0.0.0:50051 \
    QUANTD_HEALTH_LISTEN=0.0.0.0:50052 \
    QUANTD_METRICS_LISTEN=0.0.0.0:9464
USER 10001:10001
EXPOSE 50051 50052 9464
STOPSIGNAL SIGTERM
# For docker and compose; Kubernetes has probes of its own, and images in OCI format keep no health check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/local/bin/quantd", "health"]
ENTRYPOINT ["/usr/local/bin/quantd"]
