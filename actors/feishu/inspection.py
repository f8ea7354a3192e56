"""Reading back what an app can really do: its bot, its scopes, who else is connected.

Each scope is proven by a call that changes nothing: it asks for something that is not there,
and the platform checks the scope first. Scopes that no such call proves are read from the
list of granted scopes, which has been seen empty for apps made by a scan; then they are
unknown, and reported as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import trio
from msgspec import Struct

from actors.feishu.http import Platform
from actors.feishu.socket import Socket, SocketLimits, run_socket
from actors.messages import gateway
from protocol import foreign
from protocol.platform.outcomes import BotInfo, EndpointFound, MissingScope, NoAnswer, Outcome
from protocol.platform.registration import OPTIONAL_SCOPES, REQUIRED_SCOPES

ScopeState = Literal["granted", "missing", "unknown"]

INSPECT_WITHIN_S: Final = 20.0
CONNECT_WITHIN_S: Final = 10.0
_NOTHING: Final = "0" * 32
_PROBES: Final[Mapping[str, tuple[str, str]]] = {
    "im:message": ("GET", f"/open-apis/im/v1/messages/om_{_NOTHING}"),
    "im:resource": ("GET", "/open-apis/im/v1/images/img_v3_0_0"),
    "cardkit:card:write": ("PUT", f"/open-apis/cardkit/v1/cards/{_NOTHING}"),
    "im:chat:readonly": ("GET", f"/open-apis/im/v1/chats/oc_{_NOTHING}"),
}
_GRANTED: Final = 1


class Inspection(Struct, frozen=True, kw_only=True):
    """What was found; ``bot`` comes first: are the credentials taken at all."""

    bot: Outcome
    scopes: Mapping[str, ScopeState] = {}
    connections: int | None = None
    """Long connections the app has now; None: the platform gave no number."""

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in REQUIRED_SCOPES if self.scopes.get(name) == "missing")

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(name for name in REQUIRED_SCOPES if self.scopes.get(name) == "unknown")


async def inspect(platform: Platform) -> Inspection:
    """Look at the app of *platform*; it takes some seconds where that is slow."""
    bot: Outcome = NoAnswer(reason=f"no answer in {INSPECT_WITHIN_S:g} s")
    scopes: dict[str, ScopeState] = {}
    connections: int | None = None
    with trio.move_on_after(INSPECT_WITHIN_S):
        bot = await platform.perform(gateway.GetBotInfo())
        if isinstance(bot, BotInfo):
            for scope, probe in _PROBES.items():
                scopes[scope] = _standing(await platform.inquire(*probe))
            scopes = await _with_list(platform, scopes)
            connections = await _connections(platform)
    return Inspection(bot=bot, scopes=scopes, connections=connections)


async def connect_once(platform: Platform) -> str | None:
    """Open the long connection and close it; return what went wrong, None if nothing did."""
    found = await platform.perform(gateway.DiscoverEndpoint())
    if not isinstance(found, EndpointFound):
        return f"no address for the long connection: {getattr(found, 'message', found)}"
    opened = False

    async def serve(_socket: Socket) -> None:
        nonlocal opened
        opened = True
        await trio.lowlevel.checkpoint()

    limits = SocketLimits(connect_within_s=CONNECT_WITHIN_S)
    end = await run_socket(found.url, found.client_config, serve, limits=limits)
    return None if opened else f"{end.kind}: {end.reason}"


def _standing(answer: Mapping[str, Any] | Outcome) -> ScopeState:
    if isinstance(answer, MissingScope):
        return "missing"
    # Any other answer to the probe comes after the platform has checked the scope.
    return "unknown" if isinstance(answer, NoAnswer) else "granted"


async def _with_list(platform: Platform, proven: Mapping[str, ScopeState]) -> dict[str, ScopeState]:
    answer = await platform.inquire("GET", "/open-apis/application/v6/scopes")
    listed = foreign.mappings(_data(answer).get("scopes"))
    granted = {one.get("scope_name") for one in listed if one.get("grant_status") == _GRANTED}
    found: dict[str, ScopeState] = dict(proven)
    for scope in (*REQUIRED_SCOPES, *OPTIONAL_SCOPES):
        if scope in found:
            continue
        # An empty list is no answer: a token that works has some scope.
        found[scope] = "granted" if scope in granted else "missing" if granted else "unknown"
    return found


async def _connections(platform: Platform) -> int | None:
    answer = await platform.inquire("GET", "/open-apis/event/v1/connection")
    count = _data(answer).get("online_instance_cnt")
    return count if isinstance(count, int) else None


def _data(answer: object) -> Mapping[str, Any]:
    return foreign.mapping(foreign.mapping(answer).get("data"))
