# Serves the upscaling page and the HTTP API at port 8080.
#
#   docker build -t fourfold .
#   export FOURFOLD_TOKEN=$(openssl rand -hex 24); echo "$FOURFOLD_TOKEN"    # what the page asks for
#   docker run --rm -p 127.0.0.1:8080:8080 -e FOURFOLD_TOKEN \
#     --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --memory 4g --pids-limit 256 --stop-timeout 60 -v fourfold-state:/state fourfold
#
# For a team, behind a reverse proxy on this machine that speaks HTTPS, add after the image's name:
#
#     --proxy 172.17.0.1 --secure-cookie --allow-host pictures.example.org
#
# To the container every request comes from Docker's gateway, whose address this tells:
# docker network inspect bridge -f '{{(index .IPAM.Config 0).Gateway}}'. Without --proxy, everybody is one client, and
# all share the 16 jobs and the turn of one.

FROM python:3.12-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/fourfold \
    && /opt/fourfold/bin/pip install --no-cache-dir -c constraints.txt ".[web]"

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin fourfold \
    && install -d -o fourfold -g fourfold -m 0700 /state
COPY --from=build /opt/fourfold /opt/fourfold
ENV PATH="/opt/fourfold/bin:$PATH" PYTHONUNBUFFERED=1 HOME=/tmp
USER fourfold
VOLUME /state
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/v1/health', timeout=4)"]
# exec form: SIGTERM reaches the server, which then finishes what runs
ENTRYPOINT ["fourfold", "serve", "--host", "0.0.0.0", "--port", "8080", "--state", "/state"]
