"""Every key of the configuration and what may stand there: the page as tables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from protocol.config.checks import (
    NAMED,
    WORD,
    CheckFailed,
    Problems,
    Reader,
    boolean,
    integer,
    list_of,
    map_of,
    one_of,
    or_null,
    read_map,
    set_of,
    text,
    wrong_kind,
)
from protocol.config.secret_sources import connection_string, secret
from protocol.routing.access import DM_POLICIES, GROUP_POLICIES
from protocol.routing.roster import REPLY_MODES
from protocol.strings import Language

FeishuReplyMode = Literal["auto", "streaming", "static"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

FEISHU_URL: Final = "https://open.feishu.cn"
LARK_URL: Final = "https://open.larksuite.com"
POLICY_KEYS: Final = (
    "dmPolicy",
    "groupPolicy",
    "requireMention",
    "allowFrom",
    "admins",
    "groups",
)
_MERGED_KEYS: Final = ("tuning", "groups")
_PORT_MAX: Final = 65_535
_APP_ID: Final = re.compile(r"cli_[0-9a-f]{16}")
_CLUSTER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ADVERTISED: Final = re.compile(r"tls://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NAME_ALLOWED: Final = "1 to 64 letters, digits, dots, dashes and underscores"
_DOMAIN_ALLOWED: Final = (
    "feishu, lark, or a base URL such as https://open.example.com (no path, no credentials)"
)
_APP_ID_ALLOWED: Final = (
    "an App ID as the developer console shows it: cli_ and 16 hex digits,"
    " such as cli_a1b2c3d4e5f60718"
)


def in_snake_case(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the configuration as field names of our structs."""
    return {
        re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), key): value
        for key, value in values.items()
    }


def overlay(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """An account's options: the shared ones, overlaid by its own.

    ``tuning`` is overlaid key by key and ``groups`` group by group; lists are replaced.
    """
    merged = {
        key: {**shared.get(key, {}), **own.get(key, {})}
        for key in _MERGED_KEYS
        if key in shared or key in own
    }
    return {**shared, **own, **merged}


# ── readers of single keys ──────────────────────────────────────────────────


def _app_id(value: Any, path: str, _problems: Problems) -> str:
    """The platform's own form; its hex digits are lower case."""
    if isinstance(value, str) and _APP_ID.fullmatch(value.strip()):
        return value.strip()
    raise wrong_kind(path, value, _APP_ID_ALLOWED)


def _ignored(value: Any, _path: str, _problems: Problems) -> Any:
    return value


def _domain(value: Any, path: str, _problems: Problems) -> str:
    if value == "feishu":
        return FEISHU_URL
    if value == "lark":
        return LARK_URL
    if not isinstance(value, str) or "://" not in value or not WORD.fullmatch(value):
        raise wrong_kind(path, value, _DOMAIN_ALLOWED)
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError as wrong:
        raise CheckFailed(path, f"is not a URL ({wrong}); allowed: {_DOMAIN_ALLOWED}") from None
    if url.scheme not in {"http", "https"} or not host:
        raise CheckFailed(path, f"is no http or https URL; allowed: {_DOMAIN_ALLOWED}")
    if url.username is not None or url.query or url.fragment or url.path not in {"", "/"}:
        raise CheckFailed(path, f"is more than scheme, host and port; allowed: {_DOMAIN_ALLOWED}")
    if url.scheme == "http" and not is_loopback(host):
        raise CheckFailed(
            path,
            "is plain http, which would send the app secret in the clear; write https://"
            " (http is for 127.0.0.1, localhost and ::1)",
        )
    shown_host = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown_host}" + ("" if port is None else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its spelling alone; nothing is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_port(value: Any, path: str, _problems: Problems) -> dict[str, Any]:
    host, colon, port = str(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if (
        not (colon and host and port.isascii() and port.isdigit() and WORD.fullmatch(host))
        or int(port[:9]) > _PORT_MAX
        or (":" in host and not str(value).startswith("["))
    ):
        raise wrong_kind(
            path,
            value,
            "host:port, such as 127.0.0.1:7345 or [::1]:7345, with a port of 0 (any) to 65535",
        )
    return {"host": host, "port": int(port)}


def _table(
    readers: Mapping[str, Reader[Any]],
) -> Reader[dict[str, Any]]:  # pragma: no mutate block  # runs at import only
    def read(value: Any, path: str, problems: Problems) -> dict[str, Any]:
        return read_map(value, path, readers, problems)

    return read


def _channels(value: Any, path: str, problems: Problems) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        raise wrong_kind(path, value, "a list of channels ([[channels]] in TOML)")
    ids: dict[str, int] = {}
    found = []
    for at, inner in enumerate(value):
        here = f"{path}[{at}]"
        channel = read_map(inner, here, _CHANNEL, problems)
        name = channel.setdefault("id", "feishu")
        if name in ids:
            what = f"is the id of {path}[{ids[name]}] already; give it another one"
            problems.add(CheckFailed(f"{here}.id", what))
        ids.setdefault(name, at)
        if not isinstance(inner, Mapping):
            channel["enabled"] = False
        found.append(channel)
    return found


# ── the tables ──────────────────────────────────────────────────────────────

_DAY_MS: Final = 24 * 60 * 60 * 1000
_MINUTE_MS: Final = 60 * 1000
_PLATFORM_IMAGE_BYTES: Final = 10 * 1024 * 1024

_open_ids = set_of(text("an open_id", WORD))

TUNING: Final[Mapping[str, Reader[Any]]] = {
    "shutdownDeadlineMs": integer(0, 10 * _MINUTE_MS),
    "imageResolveTimeoutMs": integer(0, _MINUTE_MS),
    "imageMaxBytes": integer(0, _PLATFORM_IMAGE_BYTES),
    "cancelDeadlineMs": integer(0, 10 * _MINUTE_MS),
    "permissionNotifyCooldownMs": integer(0, _DAY_MS),
    "monthlyCallBudget": or_null(integer(0, 10**12)),
    "apiPerMinute": or_null(integer(1, 1_000_000)),
    "apiPerSecond": or_null(integer(1, 10_000)),
    "probeLimits": boolean,
    "stallNoticeMs": integer(0, _DAY_MS),
}
_ACCOUNT: Final[Mapping[str, Reader[Any]]] = {
    "appId": _app_id,
    "appSecret": secret,
    "domain": _domain,
    "replyMode": one_of(*get_args(FeishuReplyMode)),
    "groupReplyMode": one_of(*get_args(FeishuReplyMode)),
    "topicSessions": boolean,
    "topicAgent": text("the name of one of the agents", _NAME),
    "requireMention": boolean,
    "dmPolicy": one_of(*DM_POLICIES),
    "groupPolicy": one_of(*GROUP_POLICIES),
    "allowFrom": _open_ids,
    "admins": _open_ids,
    "groups": map_of(WORD, "chat ids", _table({"requireMention": boolean, "allowFrom": _open_ids})),
    "tuning": _table(TUNING),
}
OPTIONS: Final[Mapping[str, Reader[Any]]] = {
    **_ACCOUNT,
    "accounts": map_of(_NAME, _NAME_ALLOWED, _table(_ACCOUNT)),
}
_CHANNEL: Final[Mapping[str, Reader[Any]]] = {
    "id": text(_NAME_ALLOWED, _NAME),
    "type": one_of("feishu"),
    "enabled": boolean,
    "options": _table(OPTIONS),
}
AGENT: Final[Mapping[str, Reader[Any]]] = {
    "command": list_of(text("a word of the command", NAMED), at_least=1),
    "cwd": text("a directory", NAMED),
    "roots": list_of(text("a directory", NAMED)),
    "fs": one_of("none", "read", "write"),
    "env": list_of(text("the name of a variable", _VARIABLE)),
    "restore": boolean,
}
_host = text("a host, such as 127.0.0.1", WORD)
_port = integer(0, _PORT_MAX)
_file = text("the path of a file", NAMED)
CERTIFICATE: Final[Mapping[str, Reader[Any]]] = {
    "certFile": _file,
    "keyFile": _file,
    "clientCaFile": or_null(_file),
}
LISTEN: Final[Mapping[str, Reader[Any]]] = {
    "host": _host,
    "port": _port,
    "insecure": boolean,
    "tls": _table({"host": _host, "port": _port, **CERTIFICATE}),
}
HTTP_LISTEN: Final[Mapping[str, Reader[Any]]] = {**LISTEN, "tls": _table(CERTIFICATE)}
CLUSTER: Final[Mapping[str, Reader[Any]]] = {
    "name": text("a lower-case letter, then up to 31 letters, digits and underscores", _CLUSTER),
    "node": text(_NAME_ALLOWED, _NAME),
    "database": connection_string,
    "advertise": list_of(text("an address such as tls://a.example:7346", _ADVERTISED)),
}
IGNORED: Final = ("plugins",)
"""Keys of the systems this one replaces; they are accepted, with a line each."""
TOP: Final[Mapping[str, Reader[Any]]] = {
    "language": one_of(*get_args(Language)),
    "listen": _table(LISTEN),
    "channel": _table({"replyMode": one_of(*REPLY_MODES)}),
    "channels": _channels,
    "agents": map_of(_NAME, _NAME_ALLOWED, _table(AGENT)),
    "agentsPerPerson": integer(0, 1_000),
    "metrics": _table(HTTP_LISTEN),
    "console": _table(HTTP_LISTEN),
    "cluster": _table(CLUSTER),
    **dict.fromkeys(IGNORED, _ignored),
}
ENV: Final[Mapping[str, Reader[Any]]] = {
    "LARKD_LANGUAGE": TOP["language"],
    "LARKD_LISTEN": _host_port,
    "LARKD_LOG_FORMAT": one_of(*get_args(LogFormat)),
    "LARKD_LOG_LEVEL": one_of(*get_args(LogLevel)),
    "LARKD_NODE": CLUSTER["node"],
    "LARKD_DATABASE": CLUSTER["database"],
}
ACCOUNT_ENV: Final = {
    "LARKD_APP_ID": "appId",
    "LARKD_APP_SECRET": "appSecret",
    "LARKD_DOMAIN": "domain",
    "LARKD_REPLY_MODE": "replyMode",
}
