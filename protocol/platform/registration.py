"""Making an app by a scan: the device flow of RFC 8628 as the platform speaks it.

Source: ``scene/registration`` of the official SDKs (lark_oapi 1.7.5, node-sdk 1.73). Pending
states come as HTTP 400 with a JSON body, so the body alone decides.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from protocol import foreign

PATH: Final = "/oauth/v1/app/registration"
FEISHU_ACCOUNTS: Final = "https://accounts.feishu.cn"
LARK_ACCOUNTS: Final = "https://accounts.larksuite.com"
LARK_PAGE: Final = "https://open.larksuite.com/page/cli"
INTERVAL_DEFAULT_S: Final = 5.0
INTERVAL_MAX_S: Final = 60.0
SLOWER_BY_S: Final = 5.0
EXPIRES_DEFAULT_S: Final = 600.0
_EXPIRES_MAX_S: Final = 3_600.0

REQUIRED_SCOPES: Final = (
    "im:message",
    "im:message.p2p_msg:readonly",
    "im:message.group_at_msg:readonly",
    "im:resource",
    "cardkit:card:write",
)
"""Without one of these something people do every day fails."""
OPTIONAL_SCOPES: Final = ("im:chat:readonly", "docs:document.comment:read", "speech_to_text:speech")
"""Names of groups, comments of documents, voice messages as text."""
EVENTS: Final = ("im.message.receive_v1", "im.message.recalled_v1")
CALLBACKS: Final = ("card.action.trigger",)


class Begun(Struct, frozen=True, kw_only=True):
    """A device code that waits for somebody to scan its link."""

    device_code: str
    user_code: str
    link: str
    interval_s: float
    expires_s: float


class Approved(Struct, frozen=True, kw_only=True):
    """The app is made; its secret is never shown."""

    app_id: str
    app_secret: str
    open_id: str | None
    brand: str

    def __repr__(self) -> str:
        return f"Approved({self.app_id})"


class Pending(Struct, frozen=True, kw_only=True):
    """Nobody has decided yet; ask again after the interval, longer by *slower_by_s*."""

    slower_by_s: float = 0.0


class AskLark(Struct, frozen=True):
    """The tenant is one of Lark: its accounts host has the secret, at once."""


class Denied(Struct, frozen=True, kw_only=True):
    """It is over: by the platform's own error code."""

    error: str
    description: str

    @property
    def expired(self) -> bool:
        return self.error in {"expired_token", "invalid_grant"}


Polled = Approved | Pending | AskLark | Denied


def begin_form() -> dict[str, str]:
    return {
        "action": "begin",
        "archetype": "PersonalAgent",
        "auth_method": "client_secret",
        "request_user_info": "open_id",
    }


def poll_form(device_code: str) -> dict[str, str]:
    return {"action": "poll", "device_code": device_code}


def supports_us(answer: Mapping[str, Any]) -> bool:
    """Whether the answer to ``action=init`` lists the way apps are made here."""
    methods = answer.get("supported_auth_methods")
    return isinstance(methods, list) and "client_secret" in methods


def read_begun(answer: Mapping[str, Any]) -> Begun | None:
    """Read the answer to ``begin``; None where it is none."""
    device, user = answer.get("device_code"), answer.get("user_code")
    link = answer.get("verification_uri_complete")
    if not (isinstance(device, str) and isinstance(user, str) and isinstance(link, str)):
        return None
    if not (device and urlsplit(link).scheme in {"http", "https"}):
        return None
    return Begun(
        device_code=device,
        user_code=user,
        link=link,
        interval_s=min(_seconds(answer.get("interval"), INTERVAL_DEFAULT_S), INTERVAL_MAX_S),
        expires_s=min(_seconds(answer.get("expires_in"), EXPIRES_DEFAULT_S), _EXPIRES_MAX_S),
    )


def read_poll(answer: Mapping[str, Any]) -> Polled:
    """Read the answer to ``poll``, whatever its HTTP status was."""
    about = foreign.mapping(answer.get("user_info"))
    app_id, secret = foreign.text(answer, "client_id"), foreign.text(answer, "client_secret")
    brand = "lark" if about.get("tenant_brand") == "lark" else "feishu"
    if app_id:
        if secret:
            return Approved(
                app_id=app_id,
                app_secret=secret,
                open_id=foreign.text(about, "open_id") or None,
                brand=brand,
            )
        if brand == "lark":
            return AskLark()
    match answer.get("error"):
        case "authorization_pending":
            return Pending()
        case "slow_down":
            return Pending(slower_by_s=SLOWER_BY_S)
        case error:
            return Denied(
                error=str(error or "invalid answer")[:100],
                description=str(answer.get("error_description", ""))[:300],
            )


def link_to_show(begun: Begun, *, name: str | None) -> str:
    """Return the launcher's link, asking for what larkd needs beside the app itself."""
    parts = urlsplit(begun.link)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query |= {"from": "sdk", "tp": "sdk", "source": "python-sdk/larkd"}
    if name:
        query["name"] = name
    query["addons"] = addons()
    return urlunsplit(parts._replace(query=urlencode(query)))


def lark_link(begun: Begun) -> str:
    """Return the page for tenants of Lark."""
    return f"{LARK_PAGE}?{urlencode({'user_code': begun.user_code, 'from': 'cli'})}"


def grant_link(base_url: str, app_id: str, scopes: Iterable[str]) -> str:
    """Return the page where all of *scopes* can be granted to the app at once."""
    listed = ",".join(scopes)
    return f"{base_url}/app/{app_id}/auth?q={listed}&op_from=openapi&token_type=tenant"


def addons() -> str:
    """Encode scopes, events and callbacks: JSON, gzip, base64url without padding."""
    wanted = {
        "preset": False,
        "scopes": {"tenant": [*REQUIRED_SCOPES, *OPTIONAL_SCOPES]},
        "events": {"items": {"tenant": list(EVENTS)}},
        "callbacks": {"items": list(CALLBACKS)},
    }
    packed = gzip.compress(msgspec.json.encode(wanted), mtime=0)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _seconds(value: object, default: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    return default
