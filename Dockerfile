# The sidecar on distroless Python: no shell, no package manager, no pip.
# Build it with `make image`; both bases exist for linux/amd64 and linux/arm64.

FROM gcr.io/distroless/python3-debian13:nonroot AS base

FROM docker.io/library/debian:trixie-slim AS build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    python3.13 python3-pip >/dev/null \
 && rm -rf /var/lib/apt/lists/*

# Debian's Python finds packages here without any setting. pip compiles nothing: the
# bytecode is made below, for the one optimisation level that runs.
ENV PACKAGES=/out/usr/local/lib/python3.13/dist-packages
COPY requirements.lock /src/
RUN python3.13 -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: --no-deps --no-compile \
    --root-user-action ignore --target "$PACKAGES" -r /src/requirements.lock \
 && rm -rf "$PACKAGES/bin"
COPY sidecar $PACKAGES/sidecar

# Distroless ships no bytecode and a read-only file system never keeps any: without it
# every start compiles everything again, and 6 MiB more stay resident. Of the standard
# library only the modules that are used are compiled, from the base's own sources.
# unchecked-hash: the sources can't change, and no layer's file times can spoil it.
COPY --from=base /usr/lib/python3.13 /base/python3.13
RUN PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$PACKAGES" python3.13 -OO -c \
      'import importlib, pkgutil, sys, httpx, sidecar; \
       names = [m.name for m in pkgutil.walk_packages(sidecar.__path__, "sidecar.")]; \
       [importlib.import_module(name) for name in [*names, "encodings.idna", "runpy"]]; \
       httpx.Client().close(); \
       files = {getattr(m, "__file__", None) or "" for m in list(sys.modules.values())}; \
       print(*(f.removeprefix("/usr/lib/") for f in sorted(files) \
               if f.startswith("/usr/lib/python3.13/") and f.endswith(".py")))' \
     >/src/used \
 && mkdir -p /out/usr/lib \
 && (cd /base && xargs cp --parents -t /out/usr/lib </src/used) \
 && python3.13 -OO -m compileall -q -s /out --invalidation-mode unchecked-hash /out \
 && find /out/usr/lib -name '*.py' -delete
# the same files make the same layer, whenever it is built and whatever the umask was
RUN chmod -R u=rwX,go=rX /out && find /out -exec touch --no-dereference --date @0 {} +

# The tests on this Python, for `make test-image`; nothing of it enters the image.
FROM build AS test
COPY requirements-dev.lock /src/
RUN python3.13 -m pip install --quiet --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: --no-deps --break-system-packages \
    --ignore-installed --root-user-action ignore -r /src/requirements-dev.lock
WORKDIR /checkout
# the checkout is mounted there, and stays as it is
ENV PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
ENTRYPOINT ["python3.13", "-m", "pytest", "-p", "no:cacheprovider"]

FROM gcr.io/distroless/python3-debian13:nonroot
# `make image` adds version and revision
LABEL org.opencontainers.image.title="config-reload-sidecar" \
      org.opencontainers.image.description="Tells the program in your pod that its mounted ConfigMap or Secret changed" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/python3-debian13:nonroot"
COPY --from=build /out/ /
# the base's is closed to other uids, and old runtimes enter it as the container's uid
WORKDIR /
# by number, so that `runAsNonRoot` can be checked
USER 65532:65532
EXPOSE 9533
# -OO: the bytecode above. -I: neither the working directory nor PYTHON* variables
# change what runs.
ENTRYPOINT ["/usr/bin/python3.13", "-OO", "-I", "-m", "sidecar"]
