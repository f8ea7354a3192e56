"""The configuration, typed: read from a map and the environment, all errors at once.

``read_settings`` is the entry point. It touches nothing: the file's content, the environment
and a function that reads secret files are its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from protocol.config import keys
from protocol.config.checks import Problems, Reader, Rejected, join, read_map
from protocol.config.keys import (
    FeishuReplyMode,
    Language,
    LogFormat,
    LogLevel,
    SessionReplyMode,
)
from protocol.ids import AccountId
from protocol.routing.access import GroupRule, Policy
from protocol.wire.messages import DEFAULT_HOST, DEFAULT_PORT

DEFAULT_ACCOUNT: Final = "default"
DEFAULT_PATH: Final = "~/.config/larkd/config.toml"


class ConfigurationError(Exception):
    """larkd can't start as it is set up; each line names the change to make. Exit status 2."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Secret:
    """A string that is used, never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, to hand it to the platform."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret is not written anywhere")


class Listen(Struct, frozen=True, kw_only=True):
    """Where proxies connect. Port 0 picks a free one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT


class Tuning(Struct, frozen=True, kw_only=True):
    shutdown_deadline_ms: int = 5_000
    image_resolve_timeout_ms: int = 3_000
    image_max_bytes: int = 5 * 1024 * 1024
    cancel_deadline_ms: int = 10_000
    permission_notify_cooldown_ms: int = 300_000
    monthly_call_budget: int | None = None


class AccountSettings(Struct, frozen=True, kw_only=True):
    """One Feishu app."""

    account_id: AccountId
    app_id: str
    app_secret: Secret
    base_url: str
    """Origin of the platform, without a trailing slash."""
    reply_mode: FeishuReplyMode = "auto"
    policy: Policy = Policy()
    tuning: Tuning = Tuning()


class AgentCommand(Struct, frozen=True, kw_only=True):
    """An agent that can be started from a chat."""

    command: tuple[str, ...]
    cwd: str | None = None
    """None: the home directory."""
    fs: Literal["none", "read", "write"] = "none"
    env: tuple[str, ...] = ()
    """Names of variables of the daemon's environment that the agent gets too."""


class LogSettings(Struct, frozen=True, kw_only=True):
    format: LogFormat | None = None
    """None: text on a terminal, JSON lines otherwise."""
    level: LogLevel = "info"


class Settings(Struct, frozen=True, kw_only=True):
    accounts: tuple[AccountSettings, ...]
    """At least one, in the order of the configuration."""
    language: Language = "en"
    listen: Listen = Listen()
    reply_mode: SessionReplyMode = "verbose"
    log: LogSettings = LogSettings()
    agents: Mapping[str, AgentCommand] = {}
    """By the name that ``/new`` takes."""


def read_settings(
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    read_file: Callable[[str], str],
    *,
    listen: str | None = None,
    config_path: str = DEFAULT_PATH,
) -> Settings:
    """Read the whole configuration.

    *read_file* returns the text of a secret's file, or raises OSError or ValueError.
    *listen* is the command line's ``host:port``; it goes before environment and file.
    *config_path* is where a configuration would be looked for, for the error text.

    Raises:
        ConfigurationError: with everything that is wrong, a line each.
    """
    env = {name: value for name, value in env.items() if value}
    problems = Problems()
    top = read_map(raw, "", keys.TOP, problems)
    overrides = _named(env, keys.ENV, problems)
    for_account = {name: keys.OPTIONS[key] for name, key in keys.ACCOUNT_ENV.items()}
    accounts = _Accounts(env, read_file, _named(env, for_account, problems), problems)
    if listen is not None:
        flag = _named({"--listen": listen}, {"--listen": keys.ENV["LARKD_LISTEN"]}, problems)
        overrides["LARKD_LISTEN"] = flag.get("--listen")

    channels = top.get("channels", ())
    for at, channel in enumerate(channels):
        if channel.get("enabled", True):
            accounts.read_channel(channel.get("options", {}), f"channels[{at}].options")
    if not channels and {"LARKD_APP_ID", "LARKD_APP_SECRET"} & env.keys():
        accounts.read_channel({}, "")
    accounts.check_env_is_for_one()
    agents = _agents(top.get("agents", {}), problems)
    if not accounts.found and not problems:
        problems.add(_nothing_to_do(config_path, disabled=len(channels)))
    if problems:
        raise ConfigurationError(*problems.lines)
    return Settings(
        accounts=tuple(accounts.found.values()),
        language=overrides.get("LARKD_LANGUAGE") or top.get("language", "en"),
        listen=Listen(**(overrides.get("LARKD_LISTEN") or top.get("listen", {}))),
        reply_mode=top.get("channel", {}).get("replyMode", "verbose"),
        log=LogSettings(
            format=overrides.get("LARKD_LOG_FORMAT"),
            level=overrides.get("LARKD_LOG_LEVEL", "info"),
        ),
        agents=agents,
    )


def _agents(found: Mapping[str, Mapping[str, Any]], problems: Problems) -> dict[str, AgentCommand]:
    agents: dict[str, AgentCommand] = {}
    for name, agent in found.items():
        where = join(join("agents", name), "command")
        if "command" in agent:
            agents[name] = AgentCommand(
                command=tuple(agent["command"]),
                cwd=agent.get("cwd"),
                fs=agent.get("fs", "none"),
                env=tuple(agent.get("env", ())),
            )
        elif not problems.has(where):
            problems.add(Rejected(where, 'is missing; write for example ["codex-acp"]'))
    return agents


def sandbox_configuration(
    raw: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    base_url: str,
    app_id: str,
    app_secret: str,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return configuration and environment with the embedded platform as the only one.

    Language, address and reply modes stay; no credential of a real app is read.
    """
    options = {
        "appId": app_id,
        "appSecret": app_secret,
        "domain": base_url,
        "dmPolicy": "open",
        "groupPolicy": "open",
    }
    channel = {"id": "sandbox", "type": "feishu", "options": options}
    ours = {"LARKD_APP_ID", "LARKD_APP_SECRET", "LARKD_DOMAIN"}
    return {**raw, "channels": [channel]}, {n: v for n, v in env.items() if n not in ours}


def _nothing_to_do(config_path: str, *, disabled: int) -> Rejected:
    if disabled:
        return Rejected("channels", "none is enabled; write enabled = true to one")
    return Rejected(
        "",
        f"""no Feishu app is configured. Write its credentials to {config_path}:
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


class _Accounts:
    """Collects the accounts of all channels."""

    def __init__(
        self,
        env: Mapping[str, str],
        read_file: Callable[[str], str],
        overrides: Mapping[str, Any],
        problems: Problems,
    ) -> None:
        self._env = env
        self._read_file = read_file
        self._overrides = {keys.ACCOUNT_ENV[name]: value for name, value in overrides.items()}
        self._problems = problems
        self._paths: dict[str, str] = {}
        self.found: dict[str, AccountSettings] = {}

    def read_channel(self, options: Mapping[str, Any], path: str) -> None:
        named: Mapping[str, Any] = options.get("accounts") or {}
        shared = {key: value for key, value in options.items() if key != "accounts"}
        if not named:
            self._add(DEFAULT_ACCOUNT, shared, (path,))
        for name, own in named.items():
            here = join(f"{path}.accounts", name)
            self._add(name, keys.overlay(shared, own), (here, path))

    def check_env_is_for_one(self) -> None:
        """The environment has one set of credentials; two accounts can't share it."""
        if len(self._paths) > 1 and self._overrides:
            names = ", ".join(n for n, key in keys.ACCOUNT_ENV.items() if key in self._overrides)
            several = ", ".join(self._paths)
            self._problems.add(
                Rejected(names, f"for a single account only, here are {several}; unset it")
            )

    def _add(self, name: str, options: dict[str, Any], paths: tuple[str, ...]) -> None:
        """Add one account; *paths* are where its keys may stand, its own first."""
        if name in self._paths:
            what = f"there is an account {name} at {self._paths[name]}; give it another name"
            self._problems.add(Rejected(paths[0], what))
            return
        self._paths[name] = paths[0]
        options = options | self._overrides
        app_id: str | None = self._required(options, "appId", paths)
        source: keys.SecretSource | None = self._required(options, "appSecret", paths)
        secret = None if source is None else self._resolve(source)
        for other in self.found.values():
            if other.app_id == app_id:
                what = f"is the app of account {other.account_id} too; an app has one account"
                self._problems.add(Rejected(join(paths[0], "appId"), what))
        if app_id is not None and secret is not None:
            self.found[name] = _account(name, app_id, secret, options)

    def _required(self, options: Mapping[str, Any], key: str, paths: tuple[str, ...]) -> Any:
        if key in options:
            return options[key]
        variable = next(name for name, of in keys.ACCOUNT_ENV.items() if of == key)
        where, hint = variable, "set it"
        if paths[0]:
            where, hint = join(paths[0], key), f"write it there, or set {variable}"
        # A value that is there and wrong was reported already.
        if not any(self._problems.has(at) for at in (variable, *(join(p, key) for p in paths))):
            self._problems.add(Rejected(where, f"is missing; {hint}"))
        return None

    def _resolve(self, source: keys.SecretSource) -> Secret | None:
        try:
            return Secret(source.resolve(self._env, self._read_file))
        except Rejected as problem:
            self._problems.add(problem)
            return None


def _account(name: str, app_id: str, secret: Secret, options: Mapping[str, Any]) -> AccountSettings:
    chosen = {key: options[key] for key in keys.POLICY_KEYS if key in options}
    groups = {
        chat_id: GroupRule(**keys.in_snake_case(rule))
        for chat_id, rule in chosen.pop("groups", {}).items()
    }
    return AccountSettings(
        account_id=AccountId(name),
        app_id=app_id,
        app_secret=secret,
        base_url=options.get("domain", keys.FEISHU_URL),
        reply_mode=options.get("replyMode", "auto"),
        policy=Policy(**keys.in_snake_case(chosen), groups=groups),
        tuning=Tuning(**keys.in_snake_case(options.get("tuning", {}))),
    )
