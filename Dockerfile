# A static binary in an empty image: no shell, no package manager, nothing to update but Tollgate itself.
# deploy/check-static.sh runs the same binary in an empty root. RUST is the version of the build, not older than Cargo.toml's.
ARG RUST=1.95.0
FROM rust:${RUST}-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY config config
COPY deploy/profile deploy/profile
# Only what the binary is made of is copied, so the other targets of Cargo.toml get empty files.
RUN mkdir -p benches/compare benches/strategies benches/traffic tests/it /empty \
    && touch benches/compare/bare.rs benches/core.rs benches/path.rs benches/strategies/main.rs benches/traffic/main.rs tests/architecture.rs tests/it/main.rs
# With the target named, the flag concerns the program and not the build scripts. Where pages may be larger than the builder's
# (64 KiB on some ARM kernels), jemalloc must know before; elsewhere that would only waste memory.
RUN rustc -vV > /tmp/rustc \
    && if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && sed -n 's/^host: //p' /tmp/rustc > /tmp/target \
    && flags="$(deploy/profile/use.sh) -C target-feature=+crt-static" \
    && RUSTFLAGS="$flags" cargo build --release --locked --bin tollgate --target "$(cat /tmp/target)" \
    && cp "target/$(cat /tmp/target)/release/tollgate" /tollgate \
    && test -s /etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /empty /var/lib/tollgate
COPY --from=build --chown=65532:65532 /empty /var/spool/tollgate
COPY --from=build /tollgate /tollgate
COPY deploy/docker/tollgate.toml /etc/tollgate/tollgate.toml
COPY LICENSE-APACHE LICENSE-MIT /licenses/
LABEL org.opencontainers.image.title="Tollgate" \
      org.opencontainers.image.description="A rate-limit-aware caching reverse proxy for the Webex REST API" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
ENV TOLLGATE_CONFIG=/etc/tollgate/tollgate.toml
# A number: Kubernetes cannot prove of a name that it is not root, and there is no passwd here.
USER 65532:65532
EXPOSE 8443 9901
# Kubernetes ignores this and asks the probes of its manifests.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/tollgate", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/tollgate"]
CMD ["run"]
