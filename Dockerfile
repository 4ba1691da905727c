# The game server's image. `mjctl package --push` builds the image. To build the image by hand, run
# `docker buildx build --platform linux/amd64 .` To fix the base image by its digest, add
# `--build-arg PYTHON_IMAGE=python:3.13-slim@sha256:<digest>`.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# The compiler is not pinned: the base image determines its version, and the last stage does not contain the compiler.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/game
COPY gameserver/requirements.txt gameserver/compile-requirements.txt /tmp/
RUN /opt/game/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary=:all: --requirement /tmp/requirements.txt \
    --requirement /tmp/compile-requirements.txt
# Copies the Python code of the release: the game server, and the packages with a studio's rules.
COPY . /tmp/source/
WORKDIR /tmp/source
RUN /opt/game/bin/python -m gameserver.compilation /opt/game/app \
    && find . -mindepth 1 -maxdepth 1 -type d ! -name gameserver -exec cp -r {} /opt/game/app/ \; \
    && /opt/game/bin/pip uninstall --yes cython setuptools pip
# Compiles the bytecode now. At run time the root file system is read-only, and Python would compile at every start.
RUN find /opt/game/app -name __pycache__ -prune -exec rm -r {} + \
    && /opt/game/bin/python -m compileall -q /opt/game \
    && printf '#!/opt/game/bin/python\nimport sys\n\nfrom gameserver.__main__ import main\n\nsys.exit(main())\n' > /opt/game/bin/gameserver \
    && chmod 755 /opt/game/bin/gameserver

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/game /opt/game
ENV GAMESERVER_HOST=0.0.0.0 \
    GAMESERVER_OPS_PORT=9090 \
    GAMESERVER_PEER_PORT=8081 \
    GAMESERVER_PORT=8080 \
    PATH=/opt/game/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/opt/game/app \
    PYTHONUNBUFFERED=1
EXPOSE 8080 8081 9090
VOLUME /tmp
WORKDIR /tmp
USER 10001:10001
# The same check as in the task definition of terraform/modules/game_service, for a container without ECS.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; r.urlopen('http' + 's' * (os.environ.get('GAMESERVER_TLS_OWN_CERTIFICATE') == 'true') + '://127.0.0.1:9090/healthz', timeout=2, context=ssl._create_unverified_context())"]
ENTRYPOINT ["gameserver"]
CMD ["serve"]
