"""The configuration as it is handed to the daemon: typed, checked, without a wish left open.

``protocol.config.reading`` makes it from a map and the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from protocol.config.keys import (
    FeishuReplyMode,
    LogFormat,
    LogLevel,
)
from protocol.ids import AccountId
from protocol.routing.access import Policy
from protocol.routing.roster import ReplyMode
from protocol.strings import Language
from protocol.wire.vocabulary import DEFAULT_HOST, DEFAULT_PORT

DEFAULT_METRICS_PORT: Final = 9465
DEFAULT_CONSOLE_PORT: Final = 7347
"""Beside the port of the proxies and that of their TLS listener."""


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


class Certificate(Struct, frozen=True, kw_only=True):
    """PEM files of a TLS 1.3 listener; read again when they change."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
    """Whose certificates clients must show; None: the token alone proves them."""


class TlsListen(Certificate, frozen=True, kw_only=True):
    """A second address for proxies, which speaks TLS."""

    host: str
    port: int


class Listen(Struct, frozen=True, kw_only=True):
    """Where proxies connect. Port 0 picks a free one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    insecure: bool = False
    """Plain TCP beyond loopback, by the operator's own word."""
    tls: TlsListen | None = None


class HttpListen(Struct, frozen=True, kw_only=True):
    """Where metrics or the console are served. Port 0 picks a free one."""

    host: str = DEFAULT_HOST
    port: int
    insecure: bool = False
    tls: Certificate | None = None


class Tuning(Struct, frozen=True, kw_only=True):
    shutdown_deadline_ms: int = 5_000
    image_resolve_timeout_ms: int = 3_000
    image_max_bytes: int = 5 * 1024 * 1024
    cancel_deadline_ms: int = 10_000
    permission_notify_cooldown_ms: int = 300_000
    monthly_call_budget: int | None = None
    api_per_minute: int | None = None
    """Calls of one endpoint that the platform allows this app; None: what it documents."""
    api_per_second: int | None = None
    probe_limits: bool = True
    """Whether the pace may rise by itself after quiet minutes."""
    stall_notice_ms: int = 300_000
    """After so long without anything new in a turn a person is notified; 0: never."""


class AccountSettings(Struct, frozen=True, kw_only=True):
    """One Feishu app."""

    account_id: AccountId
    app_id: str
    app_secret: Secret
    base_url: str
    """Origin of the platform, without a trailing slash."""
    reply_mode: FeishuReplyMode = "auto"
    group_reply_mode: FeishuReplyMode | None = None
    """None: groups follow ``reply_mode``."""
    topic_sessions: bool = False
    """Whether each topic is a place of its own in every group, not only in topic groups."""
    topic_agent: str | None = None
    """Name of the agent that the first message of a topic starts."""
    policy: Policy = Policy()
    tuning: Tuning = Tuning()


class AgentCommand(Struct, frozen=True, kw_only=True):
    """An agent that can be started from a chat."""

    command: tuple[str, ...]
    cwd: str | None = None
    """None: the home directory."""
    roots: tuple[str, ...] = ()
    """Directories, beside ``cwd``, below which it may be started."""
    fs: Literal["none", "read", "write"] = "none"
    env: tuple[str, ...] = ()
    """Names of variables of the daemon's environment that the agent gets too."""
    restore: bool = True
    """Whether it comes back with the daemon, with its conversation."""


class LogSettings(Struct, frozen=True, kw_only=True):
    format: LogFormat | None = None
    """None: text on a terminal, JSON lines otherwise."""
    level: LogLevel = "info"


class ClusterSettings(Struct, frozen=True, kw_only=True):
    """The cluster this daemon is a node of."""

    name: str
    node: str | None = None
    """None: the host's name."""
    database: Secret
    """A connection string of PostgreSQL; it may hold a password."""
    advertise: tuple[str, ...] = ()
    """Where proxies of other machines find this node, as ``tls://host:port``."""


class Settings(Struct, frozen=True, kw_only=True):
    accounts: tuple[AccountSettings, ...]
    """At least one, in the order of the configuration."""
    language: Language = "en"
    listen: Listen = Listen()
    reply_mode: ReplyMode = "verbose"
    log: LogSettings = LogSettings()
    agents: Mapping[str, AgentCommand] = {}
    """By the name that ``/new`` takes."""
    agents_per_person: int = 4
    """How many agents one person may have started at a time."""
    metrics: HttpListen | None = None
    """None: not served."""
    console: HttpListen | None = None
    """None: not served."""
    cluster: ClusterSettings | None = None
    """None: one daemon, its journal in the state directory."""
    notices: tuple[str, ...] = ()
    """A line for each key that is accepted and means nothing here."""

    @property
    def one_http_address(self) -> bool:
        """Whether metrics and console are served under one address."""
        return self.console is not None and self.console == self.metrics and self.console.port != 0
