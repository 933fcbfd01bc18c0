# Two images: the server (the default) and the app. See docs/containers.md.
#
#   docker build --target server --tag jina-rag-server .
#   docker build --target app --tag jina-rag-app .
#
# A tag can be moved. To build on one base image for good, name it by its digest, which
# `docker buildx imagetools inspect python:3.12-slim` prints: --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:…

ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# A processor that is older than this one needs: --build-arg CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF"
ARG CMAKE_ARGS="-DLLAVA_BUILD=OFF"
# With pip the hashes would not do: it refuses a folder, which has none.
ENV VIRTUAL_ENV=/opt/jina-rag UV_NO_CACHE=1 UV_CONSTRAINT=constraints.txt UV_BUILD_CONSTRAINT=constraints.txt
RUN python -m venv --without-pip /opt/jina-rag && pip install --no-cache-dir uv==0.13.9
COPY constraints.txt .
RUN uv pip install llama-cpp-python  # the step that takes long, which a change of the source does not repeat
COPY . .

FROM build AS build-server
RUN uv pip install '.[server]'

FROM build AS build-app
RUN uv pip install . ./apps/qa

FROM ${PYTHON_IMAGE} AS base
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home jina && install -d -o 10001 /models /data
ENV HF_HOME=/models JINA_RAG_CACHE=/models/jina-rag JINA_RAG_DATA=/data/keys
VOLUME /models
STOPSIGNAL SIGTERM

FROM base AS app
COPY --from=build-app /opt/jina-rag /opt/jina-rag
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=2m --interval=10s CMD \
    ["/opt/jina-rag/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health')"]
ENTRYPOINT ["/opt/jina-rag/bin/jina-rag-app", "--host", "0.0.0.0", "--index", "/data/index"]

FROM base AS server
COPY --from=build-server /opt/jina-rag /opt/jina-rag
USER 10001
ENV JINA_RAG_SERVER_HOST=0.0.0.0
EXPOSE 8080
# The start downloads the model; the server answers 503 here while it stops.
HEALTHCHECK --start-period=10m --interval=10s CMD \
    ["/opt/jina-rag/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health')"]
ENTRYPOINT ["/opt/jina-rag/bin/jina-rag", "serve"]
CMD ["--model", "jina-embeddings-v5-text-small-retrieval"]
