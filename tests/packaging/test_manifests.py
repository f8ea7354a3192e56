"""The manifests for several machines: what Kubernetes takes, and what starts as written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import trio
import yaml

from actors.host import config_file
from tests.cluster.nodes import Node, larkd, started
from tests.kit import postgres
from tests.kit.daemon import Platform, environment, open_platform
from tests.kit.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
Map = dict[str, Any]


# ── Kubernetes ──────────────────────────────────────────────────────────────


def kinds() -> dict[str, Map]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {one["kind"]: one for one in documents}


@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_kubernetes_takes_every_document(version: str) -> None:
    for document in kinds().values():
        kubernetes_validate.validate(document, version, strict=True)


def test_the_documents_name_one_another_rightly() -> None:
    whole = kinds()
    nodes, service = whole["StatefulSet"]["spec"], whole["Service"]
    pod = nodes["template"]["spec"]
    (container,) = pod["containers"]
    labels = nodes["template"]["metadata"]["labels"]
    for selector in (
        nodes["selector"]["matchLabels"],
        service["spec"]["selector"],
        whole["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert nodes["serviceName"] == service["metadata"]["name"]
    assert nodes["replicas"] >= 2
    volumes = {one["name"] for one in pod["volumes"]}
    for one in (*pod["initContainers"], container):
        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        # A standby is alive and can be reached; only its holder is healthy.
        assert container[probe]["httpGet"] == {"path": "/livez", "port": "metrics"}
    settings = settings_of(whole["ConfigMap"]["data"]["config.json"].replace("NODE", "larkd-0"))
    assert settings.cluster is not None
    assert settings.listen.tls is not None
    assert settings.metrics is not None
    assert settings.cluster.node == "larkd-0"
    assert settings.cluster.advertise == (f"tls://larkd-0.larkd:{ports['proxies']}",)
    assert settings.listen.tls.port == ports["proxies"] == service["spec"]["ports"][0]["port"]
    assert settings.metrics.port == ports["metrics"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(settings.listen.tls.cert_file).parent) in mounted
    names = {one["name"] for one in container["env"]}
    assert names == {"LARKD_NODE", "LARKD_APP_ID", "LARKD_APP_SECRET", "LARKD_DATABASE"}


def settings_of(text: str) -> Any:
    environ = {
        "LARKD_NODE": "larkd-0",
        "LARKD_APP_ID": "cli_0123456789abcdef",
        "LARKD_APP_SECRET": "secret",
        "LARKD_DATABASE": "host=postgres sslmode=verify-full",
    }
    return config_file.settings(json.loads(text), environ, Path("config.json"))


# ── compose ─────────────────────────────────────────────────────────────────


class Composed:
    """What the compose file names, on this machine: its names are 127.0.0.1, its paths ours."""

    def __init__(self, root: Path) -> None:
        self.whole: Map = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        self.services: Map = self.whole["services"]
        self.root = root
        self.certificates = root / "certificates"
        self.certificates.mkdir()
        self.ports = {"a": free_port(), "b": free_port()}

    def make_certificates(self) -> None:
        """Run the commands of its container, but for the owners its images have."""
        (script,) = self.services["certificates"]["command"]
        lines = [one for one in script.replace("$$", "$").splitlines() if "chown" not in one]
        subprocess.run(
            [*self.services["certificates"]["entrypoint"], "\n".join(lines)],
            cwd=self.certificates,
            check=True,
            capture_output=True,
        )

    @contextmanager
    def database(self) -> Iterator[postgres.Server]:
        """Run a server as the file has it, with its certificate."""
        words = self.services["postgres"]["command"].split()
        settings = dict(one.split("=", 1) for one in words if "=" in one)
        with tempfile.TemporaryDirectory(prefix="larkd-certificates-", dir="/tmp") as folder:
            for one in self.certificates.iterdir():
                shutil.copy(one, folder)
            for one in (Path(folder), *Path(folder).iterdir()):
                if (user := postgres.unprivileged()) is not None:
                    shutil.chown(one, user)
                one.chmod(0o700 if one.is_dir() else 0o600)
            settings = {
                name: value.replace("/certificates", folder) for name, value in settings.items()
            }
            with postgres.running(**settings) as server:
                with psycopg.connect(server.url(), autocommit=True) as admin:
                    admin.execute(f"CREATE DATABASE {self.variable('POSTGRES_DB')}".encode())
                yield server

    def variable(self, name: str) -> str:
        return str(self.services["postgres"]["environment"][name])

    def node(
        self, name: str, server: postgres.Server, platform: Platform
    ) -> tuple[list[str], dict[str, str]]:
        """Return the arguments and the environment of a node."""
        service = self.services[name]
        (given,) = service["configs"]
        text = self.whole["configs"][given["source"]]["content"]
        text = text.replace("/certificates", str(self.certificates))
        text = text.replace("7346", str(self.ports[name])).replace("9465", "0")
        config = self.root / f"{name}.json"
        config.write_text(text)
        arguments = [str(config) if one == given["target"] else one for one in service["command"]]
        environ = {key: str(value) for key, value in service["environment"].items()}
        database = environ["LARKD_DATABASE"]
        # Verified by the name in the file, reached where it is here.
        database = re.sub(r"password=\S+", f"password='{postgres.PASSWORD}'", database)
        database = database.replace("/certificates", str(self.certificates))
        settings = platform.running.settings
        return arguments, environ | {
            "LARKD_DATABASE": f"{database} hostaddr=127.0.0.1 port={server.port}",
            "LARKD_APP_ID": settings.app_id,
            "LARKD_APP_SECRET": settings.app_secret,
            "LARKD_DOMAIN": platform.base_url,
            "LARKD_LISTEN": "127.0.0.1:0",
        }


async def test_what_the_compose_file_starts_takes_over(tmp_path: Path) -> None:
    composed = Composed(tmp_path)
    composed.make_certificates()
    with composed.database() as server:
        async with open_platform() as platform:
            commands = {name: composed.node(name, server, platform) for name in "ab"}

            def node(name: str) -> Any:
                (first, *rest), variables = commands[name]
                assert first == "daemon"
                state = composed.root / f"state-{name}"
                return started(
                    name,
                    ["actors.daemon", *rest, "--state-dir", str(state)],
                    environment() | variables,
                    state,
                )

            async with node("a") as a:
                await a.wait_ready()
                async with node("b") as b:
                    await b.wait_standing_by()
                    await _killed_and_replaced(a, b)
                    (_, *words), variables = commands["b"]
                    status, listed, why = await larkd("clusters", "--json", *words, **variables)
                    assert (status, why) == (0, "")
                    (one,) = json.loads(listed)["clusters"]
                    assert (one["cluster"], one["node"], one["term"]) == ("try", "b", 2)
                    assert one["addresses"] == [f"tls://b:{composed.ports['b']}"]


async def _killed_and_replaced(a: Node, b: Node) -> None:
    await a.kill()
    with trio.fail_after(60):
        await b.wait_ready()
