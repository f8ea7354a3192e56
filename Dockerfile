# larkd in a container: not root, one volume, nothing but what running needs.
#
#   docker build -t larkd .
#   docker run -it -v larkd:/data larkd init
#   docker run -d --name larkd -v larkd:/data larkd
#
# /data holds config.toml, journal, tokens and log. The health check asks /livez, which needs
# [metrics] host = "127.0.0.1", port = 9465 in the configuration; without it, `larkd status`.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE runtime.lock ./
COPY protocol protocol
COPY actors actors
RUN python -m venv /opt/larkd \
 && /opt/larkd/bin/pip install --no-cache-dir --require-hashes -r runtime.lock \
 && /opt/larkd/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 larkd && install -d -o larkd -g larkd -m 0700 /data
COPY --from=build /opt/larkd /opt/larkd
ENV PATH=/opt/larkd/bin:$PATH \
    XDG_CONFIG_HOME=/data/config \
    LARKD_STATE_DIR=/data/state \
    PYTHONUNBUFFERED=1
USER larkd
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:9465/livez', timeout=4)" 2>/dev/null || larkd status >/dev/null
ENTRYPOINT ["larkd"]
CMD ["daemon"]
