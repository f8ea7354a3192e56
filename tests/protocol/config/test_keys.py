"""Keys beside the first ones: listeners, topics, agents, clusters, and other systems' keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from protocol.config.reading import read_settings
from protocol.config.settings import (
    AgentCommand,
    Certificate,
    ClusterSettings,
    HttpListen,
    Listen,
    Secret,
    Settings,
    TlsListen,
)
from protocol.errors import ConfigurationError

OPTIONS: dict[str, Any] = {"appId": "cli_a1b2c3d4e5f60718", "appSecret": "hunter2secretvalue"}
CERTIFICATE = {"certFile": "/c.pem", "keyFile": "/k.pem"}


def read(
    raw: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    listen: str | None = None,
    **options: Any,
) -> Settings:
    channel = {"id": "f", "type": "feishu", "options": {**OPTIONS, **options}}
    return read_settings(
        {"channels": [channel], **(raw or {})}, env or {}, lambda path: path, listen=listen
    )


def problems(*args: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(*args, **options)
    assert "hunter2" not in str(caught.value)
    return caught.value.problems


# ── the account ─────────────────────────────────────────────────────────────


def test_groups_and_topics_have_keys_of_their_own() -> None:
    (plain,) = read().accounts
    assert (plain.group_reply_mode, plain.topic_sessions, plain.topic_agent) == (None, False, None)
    (account,) = read(
        {"agents": {"codex": {"command": ["codex-acp"]}}},
        groupReplyMode="streaming",
        topicSessions=True,
        topicAgent="codex",
    ).accounts
    assert account.group_reply_mode == "streaming"
    assert (account.topic_sessions, account.topic_agent) == (True, "codex")


def test_the_agent_of_topics_is_one_of_the_agents() -> None:
    agents = {"agents": {"codex": {"command": ["codex-acp"]}}}
    assert problems(agents, topicAgent="codx") == (
        (
            "channels[0].options.topicAgent: is a string that names no agent of [agents];"
            " did you mean codex?"
        ),
    )
    assert problems(topicAgent="codex") == (
        (
            "channels[0].options.topicAgent: is a string that names no agent of [agents];"
            " known: none"
        ),
    )


def test_an_agent_without_a_command_is_one_problem_also_where_topics_name_it() -> None:
    missing = 'agents.codex.command: is missing; write for example ["codex-acp"]'
    assert problems({"agents": {"codex": {}}}, topicAgent="codex") == (missing,)
    (wrong,) = problems({"agents": {"codex": {"command": "codex-acp"}}}, topicAgent="codex")
    assert wrong.startswith("agents.codex.command: is a string")


def test_what_an_agent_may_do_is_as_configured_and_else_nothing() -> None:
    command = {"command": ["codex-acp"]}
    may = {"cwd": "/w", "roots": ["/r"], "fs": "write", "env": ["KEY"], "restore": False}
    agents = read({"agents": {"least": command, "most": {**command, **may}}}).agents
    assert (agents["least"].fs, agents["least"].restore) == ("none", True)
    most = agents["most"]
    assert (most.cwd, most.roots, most.fs, most.restore) == ("/w", ("/r",), "write", False)
    assert (most.env, agents["least"].env) == (("KEY",), ())


def test_limits_and_stalls_are_tuned() -> None:
    (plain,) = read().accounts
    assert (plain.tuning.probe_limits, plain.tuning.stall_notice_ms) == (True, 300_000)
    assert (plain.tuning.api_per_minute, plain.tuning.api_per_second) == (None, None)
    (account,) = read(
        tuning={"apiPerMinute": 2000, "apiPerSecond": 100, "probeLimits": False, "stallNoticeMs": 0}
    ).accounts
    assert (account.tuning.api_per_minute, account.tuning.api_per_second) == (2000, 100)
    assert (account.tuning.probe_limits, account.tuning.stall_notice_ms) == (False, 0)


@pytest.mark.parametrize(
    "app_id",
    ["my-app", "cli_x", "cli_A1B2C3D4E5F60718", "cli_a1b2c3d4e5f607181", "", 5],
)
def test_an_app_id_of_another_form_is_refused(app_id: object) -> None:
    (problem,) = problems(appId=app_id)
    assert problem.startswith("channels[0].options.appId: is ")
    assert "cli_ and 16 hex digits" in problem


def test_the_environments_app_id_is_checked_too() -> None:
    (problem,) = problems(None, {"LARKD_APP_ID": "my-app"})
    assert problem.startswith("LARKD_APP_ID: is a string; allowed: an App ID")


# ── agents ──────────────────────────────────────────────────────────────────


def test_an_agent_has_roots_and_comes_back() -> None:
    settings = read(
        {
            "agents": {
                "a": {"command": ["x"]},
                "b": {"command": ["x"], "roots": ["~/work", "/src"], "restore": False},
            },
            "agentsPerPerson": 2,
        }
    )
    assert settings.agents["a"] == AgentCommand(command=("x",), roots=(), restore=True)
    assert settings.agents["b"] == AgentCommand(
        command=("x",), roots=("~/work", "/src"), restore=False
    )
    assert settings.agents_per_person == 2
    assert read().agents_per_person == 4


# ── listeners ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "larkd.example"])
def test_proxies_beyond_loopback_need_tls_or_a_word(host: str) -> None:
    (problem,) = problems({"listen": {"host": host}})
    assert problem.startswith("listen.host: is a string that names an address beyond loopback")
    assert "listen.insecure = true" in problem
    assert read({"listen": {"host": host, "insecure": True}}).listen == Listen(
        host=host, insecure=True
    )


@pytest.mark.parametrize(
    ("env", "listen", "path"),
    [
        ({"LARKD_LISTEN": "0.0.0.0:7345"}, None, "LARKD_LISTEN: "),
        ({}, "0.0.0.0:7345", "--listen: "),
        ({"LARKD_LISTEN": "127.0.0.1:1"}, "[::]:7345", "--listen: "),
    ],
)
def test_the_address_of_the_environment_is_held_to_the_same(
    env: dict[str, str], listen: str | None, path: str
) -> None:
    (problem,) = problems(None, env, listen=listen)
    assert problem.startswith(path + "is a string that names an address beyond loopback")
    assert "0.0.0.0" not in problem


def test_the_environment_replaces_host_and_port_only() -> None:
    tls = {"host": "0.0.0.0", "port": 7346, **CERTIFICATE, "clientCaFile": None}
    raw = {"listen": {"host": "127.0.0.1", "port": 1, "insecure": True, "tls": tls}}
    kept = TlsListen(host="0.0.0.0", port=7346, cert_file="/c.pem", key_file="/k.pem")
    assert read(raw, {"LARKD_LISTEN": "0.0.0.0:2"}).listen == Listen(
        host="0.0.0.0", port=2, insecure=True, tls=kept
    )
    assert read(raw, {"LARKD_LISTEN": "0.0.0.0:2"}, listen="127.0.0.1:3").listen == Listen(
        host="127.0.0.1", port=3, insecure=True, tls=kept
    )


def test_an_authority_of_clients_is_kept() -> None:
    tls = {"host": "10.0.0.1", "port": 7346, **CERTIFICATE, "clientCaFile": "/ca.pem"}
    listening = read({"listen": {"tls": tls}}).listen
    assert listening.tls is not None
    assert (listening.tls.host, listening.tls.client_ca_file) == ("10.0.0.1", "/ca.pem")


def test_a_certificate_has_two_files() -> None:
    assert problems({"listen": {"tls": {"port": 1}}, "metrics": {"tls": {"certFile": "/c"}}}) == (
        "listen.tls.certFile: is missing; write the path of the certificate (PEM)",
        "listen.tls.keyFile: is missing; write the path of the private key (PEM)",
        "metrics.tls.keyFile: is missing; write the path of the private key (PEM)",
    )


@pytest.mark.parametrize(("key", "port"), [("metrics", 9465), ("console", 7347)])
def test_metrics_and_console_are_off_until_they_are_named(key: str, port: int) -> None:
    assert getattr(read(), key) is None
    assert getattr(read({key: {}}), key) == HttpListen(host="127.0.0.1", port=port)
    assert getattr(read({key: {"port": 0}}), key).port == 0


@pytest.mark.parametrize("key", ["metrics", "console"])
def test_metrics_and_console_each_need_their_own_permission(key: str) -> None:
    open_proxies = {"listen": {"host": "0.0.0.0", "insecure": True}}
    (problem,) = problems({**open_proxies, key: {"host": "0.0.0.0"}})
    assert problem.startswith(f"{key}.host: is a string that names an address beyond loopback")
    found = getattr(read({key: {"host": "0.0.0.0", "tls": CERTIFICATE}}), key)
    assert found.tls == Certificate(cert_file="/c.pem", key_file="/k.pem")
    assert getattr(read({key: {"host": "::", "insecure": True}}), key).insecure


# ── a cluster ───────────────────────────────────────────────────────────────


def test_a_cluster_names_its_database() -> None:
    cluster = {
        "name": "support",
        "node": "a",
        "database": {"env": "DB"},
        "advertise": ["tls://a.example:7346"],
    }
    dsn = "host=db user=larkd password=p"
    assert read({"cluster": cluster}, {"DB": dsn}).cluster == ClusterSettings(
        name="support", node="a", database=Secret(dsn), advertise=("tls://a.example:7346",)
    )
    from_env = read({"cluster": {"name": "s"}}, {"LARKD_DATABASE": dsn, "LARKD_NODE": "b"}).cluster
    assert from_env == ClusterSettings(name="s", node="b", database=Secret(dsn))
    assert read(None, {"LARKD_DATABASE": dsn}).cluster is None


def test_a_cluster_that_lacks_something_is_refused() -> None:
    assert problems({"cluster": {}}) == (
        'cluster.name: is missing; write for example "support"',
        (
            'cluster.database: is missing; write {"env": "LARKD_DATABASE"} there,'
            " or set LARKD_DATABASE"
        ),
    )
    bad = {"name": "Support", "database": {"env": "NOPE"}, "advertise": ["a.example"]}
    assert problems({"cluster": bad}) == (
        (
            "cluster.name: is a string; allowed: a lower-case letter, then up to 31 letters,"
            " digits and underscores"
        ),
        "cluster.advertise[0]: is a string; allowed: an address such as tls://a.example:7346",
        "cluster.database.env: the environment has no NOPE; export it",
    )


# ── keys of the systems before ──────────────────────────────────────────────


@pytest.mark.parametrize("value", [{}, [], {"feishu": {"enabled": True}}, "x", None])
def test_plugins_are_accepted_with_one_line(value: object) -> None:
    settings = read({"plugins": value})
    assert settings.notices == ("plugins: means nothing to larkd, ignored",)
    assert read().notices == ()
