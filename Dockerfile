# quantd in a slim, non-root image. Build context: the repository's root.
#   docker build -t quantd .                    the service and its client
#   docker build --target test .                also runs the unit tests
FROM debian:bookworm-slim AS packages
WORKDIR /src
COPY cmake/setup.sh cmake/debian-packages.txt cmake/
RUN cmake/setup.sh build && rm -rf /var/lib/apt/lists/*

FROM packages AS build
COPY . .
RUN cmake --preset release -DQUANTD_BENCH=OFF -DCMAKE_CXX_COMPILER_LAUNCHER= \
 && cmake --build build/release --target quantd quantctl \
 && strip build/release/bin/quantd build/release/bin/quantctl

FROM build AS test
RUN cmake/setup.sh test && rm -rf /var/lib/apt/lists/*
RUN cmake --build build/release --target unit_tests \
 && ctest --test-dir build/release -L unit --output-on-failure --no-tests=error

FROM debian:bookworm-slim AS run
LABEL org.opencontainers.image.title="quantd" \
      org.opencontainers.image.description="Stateless gRPC service that quantizes neural network weights" \
      org.opencontainers.image.licenses="Apache-2.0"
# OpenBLAS is opened at run time, by the name libopenblas.so.0; the others are linked.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates libgrpc++1.51 libisal2 libopenblas0-pthread libprometheus-cpp-pull1.0 libssl3 libxxhash0 \
      libyaml-cpp0.7 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin quantd
COPY --from=build /src/build/release/bin/quantd /src/build/release/bin/quantctl /usr/local/bin/
# Reachable from outside the container; quantd then insists on --tls-cert and --tls-key, or on --insecure.
ENV QUANTD_LISTEN=0.0.0.0:50051 \
    QUANTD_METRICS_LISTEN=0.0.0.0:9464
USER 10001:10001
EXPOSE 50051 9464
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/quantd"]
