"""Reads the configuration from a map and the environment, with all errors at once.

``read_settings`` is the entry point. It touches nothing: the file's content, the environment
and a function that reads secret files are its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from protocol.config import keys
from protocol.config.accounts import Accounts
from protocol.config.checks import CheckFailed, Problems, Reader, join, nearest, read_map
from protocol.config.listeners import check_one_http_address, read_http_listen, read_listen
from protocol.config.secret_sources import SecretSource
from protocol.config.settings import (
    DEFAULT_CONSOLE_PORT,
    DEFAULT_METRICS_PORT,
    AgentCommand,
    ClusterSettings,
    LogSettings,
    Secret,
    Settings,
)
from protocol.errors import ConfigurationError

DEFAULT_PATH: Final = "~/.config/larkd/config.toml"
SET_UP: Final = "larkd init"


def read_settings(
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    read_file: Callable[[str], str],
    *,
    listen: str | None = None,
    config_path: str = DEFAULT_PATH,
    set_up: str = SET_UP,
) -> Settings:
    """Read the whole configuration.

    *read_file* returns the text of a secret's file, or raises OSError or ValueError.
    *listen* is the command line's ``host:port``; it goes before environment and file.
    *config_path*, where a configuration would be looked for, and *set_up*, the command that
    writes it, are for the error text.

    Raises:
        ConfigurationError: with everything that is wrong, a line each.
    """
    env = {name: value for name, value in env.items() if value}
    problems = Problems()
    top = read_map(raw, "", keys.TOP, problems)
    overrides = _named(env, keys.ENV, problems)
    for_account = {name: keys.OPTIONS[key] for name, key in keys.ACCOUNT_ENV.items()}
    accounts = Accounts(env, read_file, _named(env, for_account, problems), problems)
    address = _addresses(overrides, listen, problems)
    channels = top.get("channels", ())
    for at, channel in enumerate(channels):
        if channel.get("enabled", True):
            accounts.read_channel(channel.get("options", {}), f"channels[{at}].options")
    if not channels and {"LARKD_APP_ID", "LARKD_APP_SECRET"} & env.keys():
        accounts.read_channel({}, "")
    accounts.check_env_is_for_one()
    agents = _agents(top.get("agents", {}), problems)
    _check_topic_agents(accounts.topic_agents, agents, problems)
    settings = Settings(
        accounts=tuple(accounts.found.values()),
        language=overrides.get("LARKD_LANGUAGE") or top.get("language", "en"),
        listen=read_listen(top.get("listen", {}), address, problems),
        reply_mode=top.get("channel", {}).get("replyMode", "verbose"),
        log=LogSettings(
            format=overrides.get("LARKD_LOG_FORMAT"),
            level=overrides.get("LARKD_LOG_LEVEL", "info"),
        ),
        agents=agents,
        agents_per_person=top.get("agentsPerPerson", 4),
        metrics=read_http_listen(top, "metrics", DEFAULT_METRICS_PORT, problems),
        console=read_http_listen(top, "console", DEFAULT_CONSOLE_PORT, problems),
        cluster=_cluster(top, overrides, _Secrets(env, read_file), problems),
        notices=tuple(
            f"{key}: means nothing to larkd, ignored" for key in keys.IGNORED if key in top
        ),
    )
    check_one_http_address(settings, problems)
    if not accounts.found and not problems:
        problems.add(_nothing_to_do(config_path, set_up, disabled=len(channels)))
    if problems:
        raise ConfigurationError(*problems.lines)
    return settings


class _Secrets:
    """Where secrets come from."""

    def __init__(self, env: Mapping[str, str], read_file: Callable[[str], str]) -> None:
        self._env = env
        self._read_file = read_file

    def resolve(self, source: SecretSource, problems: Problems) -> Secret | None:
        try:
            return Secret(source.resolve(self._env, self._read_file))
        except CheckFailed as problem:
            problems.add(problem)
            return None


def _cluster(
    top: Mapping[str, Any], overrides: Mapping[str, Any], secrets: _Secrets, problems: Problems
) -> ClusterSettings | None:
    if "cluster" not in top:
        return None
    found = top["cluster"]
    source = overrides.get("LARKD_DATABASE") or found.get("database")
    if "name" not in found and not problems.has("cluster.name"):
        problems.add(CheckFailed("cluster.name", 'is missing; write for example "support"'))
    if source is None and not problems.has("cluster.database"):
        problems.add(
            CheckFailed(
                "cluster.database",
                'is missing; write {"env": "LARKD_DATABASE"} there, or set LARKD_DATABASE',
            )
        )
    database = None if source is None else secrets.resolve(source, problems)
    if database is None or "name" not in found:
        return None
    return ClusterSettings(
        name=found["name"],
        node=overrides.get("LARKD_NODE") or found.get("node"),
        database=database,
        advertise=found.get("advertise", ()),
    )


def _check_topic_agents(
    named: Mapping[str, str], agents: Mapping[str, AgentCommand], problems: Problems
) -> None:
    for path, name in named.items():
        if name not in agents and not problems.has(f"agents.{name}"):
            hint = nearest(name, agents) or f"; known: {', '.join(agents) or 'none'}"
            problems.add(CheckFailed(path, f"is a string that names no agent of [agents]{hint}"))


def _agents(found: Mapping[str, Mapping[str, Any]], problems: Problems) -> dict[str, AgentCommand]:
    agents: dict[str, AgentCommand] = {}
    for name, agent in found.items():
        where = join(join("agents", name), "command")
        if "command" in agent:
            agents[name] = AgentCommand(
                command=tuple(agent["command"]),
                cwd=agent.get("cwd"),
                roots=tuple(agent.get("roots", ())),
                fs=agent.get("fs", "none"),
                env=tuple(agent.get("env", ())),
                restore=agent.get("restore", True),
            )
        elif not problems.has(where):
            problems.add(CheckFailed(where, 'is missing; write for example ["codex-acp"]'))
    return agents


def sandbox_configuration(
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    base_url: str,
    app_id: str,
    app_secret: str,
    people: Sequence[str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return configuration and environment with the embedded platform as the only one.

    *people* are open_ids: all of them are admitted, and the first, who opens the chat page,
    is admin. Language, address and reply modes stay; no credential of a real app is read.
    """
    options = {
        "appId": app_id,
        "appSecret": app_secret,
        "domain": base_url,
        "dmPolicy": "open",
        "groupPolicy": "open",
        "allowFrom": list(people),
        "admins": list(people[:1]),
    }
    channel = {"id": "sandbox", "type": "feishu", "options": options}
    ours = {"LARKD_APP_ID", "LARKD_APP_SECRET", "LARKD_DOMAIN"}
    rest = {key: value for key, value in raw.items() if key != "cluster"}
    return {**rest, "channels": [channel]}, {n: v for n, v in env.items() if n not in ours}


def _addresses(
    overrides: Mapping[str, Any], listen: str | None, problems: Problems
) -> list[tuple[str, Any]]:
    """Return what goes before the file's address, the first that is given first."""
    found = [("LARKD_LISTEN", overrides.get("LARKD_LISTEN"))]
    if listen is not None:
        flag = _named({"--listen": listen}, {"--listen": keys.ENV["LARKD_LISTEN"]}, problems)
        found.insert(0, ("--listen", flag.get("--listen")))
    return found


def _nothing_to_do(config_path: str, set_up: str, *, disabled: int) -> CheckFailed:
    if disabled:
        return CheckFailed("channels", "none is enabled; write enabled = true to one")
    return CheckFailed(
        "",
        f"""no Feishu app is configured. Make one by a scan: {set_up}
Or write the credentials of one that exists to {config_path}:
    [[channels]]
    id = "feishu"
    type = "feishu"
    options = {{ appId = "cli_…", appSecret = {{ file = "~/feishu-app-secret" }} }}
or set LARKD_APP_ID and LARKD_APP_SECRET. To try larkd without an app: larkd daemon --sandbox""",
    )


def _named(
    env: Mapping[str, str], readers: Mapping[str, Reader[Any]], problems: Problems
) -> dict[str, Any]:
    return read_map({n: v for n, v in env.items() if n in readers}, "", readers, problems)
