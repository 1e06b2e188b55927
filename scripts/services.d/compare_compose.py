"""Compares docker-compose.yml with scripts/services: the same versions, settings, ports and addresses.

Run by scripts/check-compose. Prints each disagreement, and exits with 1 if there is any.
"""

import re
import subprocess
import sys
from pathlib import Path

import ruamel.yaml

ROOT = Path(__file__).resolve().parents[2]
ONE_SHOT = {"seed", "migrate"}  # they end by themselves, so they have no health check


def main():
    compose = load_yaml("docker-compose.yml")
    overlay = load_yaml("deploy/docker-compose.services.yml")
    settings = Settings()
    checks = [
        images_are_pinned(compose),
        everything_has_health(compose),
        versions_agree(compose, settings),
        ports_agree(compose, settings),
        kafka_agrees(compose),
        redis_agrees(compose),
        postgres_agrees(compose),
        prometheus_agrees(compose, overlay),
        volumes_are_named_after_services(compose, settings),
    ]
    problems = [problem for check in checks for problem in check]
    for problem in problems:
        print(f"check-compose: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"check-compose: {len(compose['services'])} containers agree with scripts/services")


class Settings:
    """The defaults of scripts/services.d/settings.sh."""

    NAMES = ["kafka_version", "registry_version", "postgres_major"]
    SERVICES = ["kafka", "registry", "redis", "postgres", "prometheus"]

    def __init__(self):
        names = self.NAMES + [f"{service}_port" for service in self.SERVICES]
        script = "source scripts/services.d/settings.sh\n"
        script += "".join(f'echo "{name}=${name}"\n' for name in names)
        script += "".join(f'echo "{s}_variable=${{port_variable[{s}]}}"\n' for s in self.SERVICES)
        shell = ["env", "-i", "HOME=/nonexistent", "bash", "-euc", script]
        output = subprocess.run(shell, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
        self.values = dict(line.split("=", 1) for line in output.splitlines())

    def __getitem__(self, name):
        return self.values[name]


def images_are_pinned(compose):
    for name, service in compose["services"].items():
        image = service["image"]
        built_here = "build" in service
        if not built_here and not re.search(r":v?\d+\.\d+", image):
            yield f"{name}: the image {image} names no version"


def everything_has_health(compose):
    for name, service in compose["services"].items():
        if name not in ONE_SHOT and "test" not in service.get("healthcheck", {}):
            yield f"{name}: has no health check"
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            if condition["condition"] != wanted:
                yield f"{name}: should wait until {other} is {wanted}"


def versions_agree(compose, settings):
    wanted = {
        "kafka": f":{settings['kafka_version']}",
        "registry": f":{settings['registry_version']}",
        "postgres": f"-pg{settings['postgres_major']}",
    }
    for name, ending in wanted.items():
        image = compose["services"][name]["image"]
        if not image.endswith(ending):
            yield f"{name}: scripts/services has {ending[1:]}, the image is {image}"
    if not re.search(r":7\.", compose["services"]["redis"]["image"]):
        yield "redis: scripts/services has Redis 7"


def ports_agree(compose, settings):
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: publishes {port} to the network; use 127.0.0.1"
    for name in settings.SERVICES:
        published = "127.0.0.1:${%s:-%s}:" % (settings[f"{name}_variable"], settings[f"{name}_port"])
        if not any(port.startswith(published) for port in compose["services"][name]["ports"]):
            yield f"{name}: scripts/services listens where {published}… would publish"


def kafka_agrees(compose):
    service = compose["services"]["kafka"]
    yield from mounts(compose, "kafka", "./scripts/kafka/server.properties:/mnt/shared/config/server.properties:ro")
    for name in read_settings("scripts/kafka/server.properties"):
        variable = "KAFKA_" + name.upper().replace(".", "_")
        if variable in service["environment"]:
            yield f"kafka: {variable} overrides scripts/kafka/server.properties"


def redis_agrees(compose):
    yield from mounts(compose, "redis", "./scripts/redis/redis.conf:/etc/redis.conf:ro")
    command = compose["services"]["redis"]["command"]
    if command[:2] != ["redis-server", "/etc/redis.conf"]:
        yield "redis: does not read scripts/redis/redis.conf"
    for line in (ROOT / "scripts/redis/redis.conf").read_text().splitlines():
        name = line.split(" ")[0]
        if name and name != "#" and f"--{name}" in command:
            yield f"redis: --{name} overrides scripts/redis/redis.conf"


def postgres_agrees(compose):
    command = compose["services"]["postgres"]["command"]
    given = dict(part.removeprefix("-c").split("=", 1) for part in command if part.startswith("-c"))
    wanted = read_settings("scripts/postgres/postgresql.conf")
    for name in sorted(given.keys() | wanted.keys()):
        if given.get(name) != wanted.get(name):
            yield f"postgres: {name} is {given.get(name)}, in scripts/postgres/postgresql.conf {wanted.get(name)}"


def prometheus_agrees(compose, overlay):
    yield from mounts(compose, "prometheus", "./deploy/prometheus.yml:/etc/prometheus/prometheus.yml:ro")
    scrape = load_yaml("deploy/prometheus.yml")["scrape_configs"]
    targets = {target for job in scrape for group in job["static_configs"] for target in group["targets"]}
    workers = {f"{name}:9464" for name in compose["services"] if name.startswith("worker")}
    if targets != workers:
        yield f"prometheus: scrapes {sorted(targets)}, the workers are {sorted(workers)}"
    lines = (ROOT / "deploy/prometheus.yml").read_text().count("- targets: ")
    if lines != 1:
        yield f"prometheus: scripts/services replaces one line of targets, deploy/prometheus.yml has {lines}"
    if set(overlay["services"]) != {"prometheus"}:
        yield "deploy/docker-compose.services.yml: is about Prometheus only"


def volumes_are_named_after_services(compose, settings):
    for name in settings.SERVICES:
        mounted = {volume.split(":")[0] for volume in compose["services"][name]["volumes"]}
        if name not in compose["volumes"] or name not in mounted:
            yield f"{name}: keeps its data in no volume \"{name}\", so scripts/services could not remove them"


def mounts(compose, name, volume):
    if volume not in compose["services"][name]["volumes"]:
        yield f"{name}: does not mount {volume}"


def read_settings(path):
    """Returns the lines `name=value` of a file."""
    lines = (ROOT / path).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load_yaml(path):
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    # In Compose, `!reset` removes a value; here it is read as the value itself.
    yaml.constructor.add_constructor("!reset", lambda loader, node: [])
    return yaml.load(ROOT / path)


main()
