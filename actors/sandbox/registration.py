"""Apps made by a scan: the device flow of RFC 8628, as the platform serves it.

``begin`` gives a link; whoever opens it approves or denies, here by the chat page or the
control API; ``poll`` gives the credentials of an app that can be used at once. Pending
and refused states are HTTP 400 with a bare JSON body.
"""

from __future__ import annotations

import base64
import zlib
from collections import OrderedDict
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from actors.sandbox import scopes
from actors.sandbox.errors import PlatformError
from actors.sandbox.rest import JSON, ApiCall, OpenApi, Raw
from actors.sandbox.world import RegisteredApp, World

PATH: Final = "/oauth/v1/app/registration"
LAUNCHERS: Final = ("/page/launcher", "/page/cli")
REGISTRATIONS_MAX: Final = 1_000
SLOWER_BY_S: Final = 5.0
EARLY_S: Final = 0.5
"""A poll that comes this much before its time is still on time."""
ADDONS_BYTES_MAX: Final = 64 * 1024
USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, as RFC 8628 advises: no words by accident."""
TEMPLATE_EVENTS: Final = frozenset(
    {*scopes.EVENTS, "im.message.receive_v1", "card.action.trigger", "application.bot.menu_v6"}
)

RegistrationState = Literal["pending", "approved", "denied", "expired"]


class Addons(msgspec.Struct, frozen=True, kw_only=True):
    """What a link asks for beside the app itself; unknown names are dropped silently."""

    preset: bool | None = None
    scopes: dict[str, list[str]] = {}
    events: dict[str, dict[str, list[str]]] = {}
    callbacks: dict[str, list[str]] = {}


class RegistrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """In seconds of the platform's clock."""

    interval_s: int = 1
    expires_s: int = 600


class Registration(msgspec.Struct, kw_only=True):
    """One device code and what has become of it."""

    device_code: str
    user_code: str
    began_at: float
    interval_s: float
    state: RegistrationState = "pending"
    polled_at: float | None = None
    slow_downs: int = 0
    app_id: str = ""
    open_id: str = ""
    tenant_brand: Literal["feishu", "lark"] = "feishu"
    brand_shown: bool = False


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who opened the link. ``url`` is the link, or its query alone."""

    url: str = ""
    user_code: str = ""
    action: Literal["approve", "deny", "expire", "slow_down"] = "approve"
    operator: str = ""
    tenant_brand: Literal["feishu", "lark"] = "feishu"


class Registrations:
    """Every device code of this run (the newest 1,000)."""

    def __init__(self, world: World) -> None:
        self.settings = RegistrationSettings()
        self.base_url = ""
        self._world = world
        self._by_device: OrderedDict[str, Registration] = OrderedDict()

    def routes(self, api: OpenApi) -> list[Route]:
        return [
            *api.routes([("POST", PATH, self._serve)], needs_token=False),
            *(Route(path, _launch) for path in LAUNCHERS),
        ]

    def views(self) -> list[dict[str, Any]]:
        """Return all registrations, without their device codes."""
        shown = [msgspec.to_builtins(self._expire(one)) for one in self._by_device.values()]
        return [{key: one[key] for key in one if key != "device_code"} for one in shown]

    async def scan(self, body: dict[str, Any]) -> dict[str, Any]:
        """Do what the person with the telephone does; return the registration.

        Raises:
            PlatformError: 9499 no such code, not pending any more, or malformed addons.
        """
        try:
            scan = msgspec.convert(body, Scan)
        except msgspec.ValidationError as wrong:
            raise PlatformError(9499, str(wrong)) from wrong
        query = _query(scan.url)
        user_code = scan.user_code or query.get("user_code", "")
        found = next((one for one in self._by_device.values() if one.user_code == user_code), None)
        if found is None:
            raise PlatformError(9499, f"no registration has the user code {user_code!r}")
        if self._expire(found).state != "pending":
            raise PlatformError(9499, f"this registration is {found.state}")
        match scan.action:
            case "approve":
                self._approve(found, scan, query)
            case "deny":
                found.state = "denied"
            case "expire":
                found.state = "expired"
            case "slow_down":
                found.slow_downs += 1
        return {"user_code": user_code, "state": found.state, "app_id": found.app_id}

    def _approve(self, found: Registration, scan: Scan, query: dict[str, str]) -> None:
        operator = scan.operator or next(iter(self._world.users))
        if operator not in self._world.users:
            raise PlatformError(9499, "operator is no user; GET /sandbox/state lists them")
        addons = _addons(query.get("addons", ""))
        existing = self._world.apps.get(query.get("clientID", ""))
        if existing is not None and query.get("createOnly") != "true":
            existing.scopes |= _granted(addons)
            app = existing
        else:
            app = self._make(query.get("name") or "larkd", addons, operator)
        found.state, found.app_id, found.open_id = "approved", app.app_id, operator
        found.tenant_brand = scan.tenant_brand

    def _make(self, name: str, addons: Addons | None, operator: str) -> RegisteredApp:
        rng = self._world.rng
        name = name.replace("{user}", self._world.name_of(operator))
        app = self._world.add_app(
            f"cli_{rng.getrandbits(64):016x}", f"{rng.getrandbits(160):040x}", name
        )
        app.scopes = scopes.TEMPLATE if addons is None else _granted(addons)
        app.events = TEMPLATE_EVENTS if addons is None or addons.preset else _events(addons)
        self._world.add_chat("p2p", name, [operator], app.app_id)
        return app

    # ── the endpoint ────────────────────────────────────────────────────────

    async def _serve(self, call: ApiCall) -> Any:
        match call.body.get("action"):
            case "init":
                raise _bare({"supported_auth_methods": ["client_secret"]})
            case "begin":
                raise _bare(self._begin(call.body))
            case "poll":
                raise self._poll(str(call.body.get("device_code", "")))
            case _:
                raise _failed("invalid_request", "action is init, begin or poll")

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("auth_method") != "client_secret" or body.get("archetype") != "PersonalAgent":
            raise _failed("invalid_request", "archetype or auth_method is not supported")
        rng = self._world.rng
        letters = "".join(rng.choice(USER_CODE_LETTERS) for _ in range(8))
        made = Registration(
            device_code=f"{rng.getrandbits(256):064x}",
            user_code=f"{letters[:4]}-{letters[4:]}",
            began_at=self._world.clock.now(),
            interval_s=float(self.settings.interval_s),
        )
        self._by_device[made.device_code] = made
        if len(self._by_device) > REGISTRATIONS_MAX:
            self._by_device.popitem(last=False)
        page = f"{self.base_url}{LAUNCHERS[0]}"
        return {
            "device_code": made.device_code,
            "user_code": made.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={made.user_code}",
            "interval": self.settings.interval_s,
            "expires_in": self.settings.expires_s,
        }

    def _expire(self, one: Registration) -> Registration:
        if (
            one.state == "pending"
            and self._world.clock.now() - one.began_at > self.settings.expires_s
        ):
            one.state = "expired"
        return one

    def _poll(self, device_code: str) -> Raw:
        found = self._by_device.get(device_code)
        if found is None:
            return _failed("invalid_grant", "The device code is invalid.")
        now, before = self._world.clock.now(), found.polled_at
        found.polled_at = now
        match self._expire(found).state:
            case "denied":
                return _failed("access_denied", "The user denied the request.")
            case "expired":
                return _failed("expired_token", "The device code has expired.")
            case "approved":
                return self._approved(found)
        early = before is not None and now - before < found.interval_s - EARLY_S
        if early or found.slow_downs:
            found.slow_downs = max(0, found.slow_downs - 1)
            found.interval_s += SLOWER_BY_S
            return _failed("slow_down", "Polling too often; wait 5 seconds more each time.")
        return _failed("authorization_pending", "The user has not decided yet.")

    def _approved(self, found: Registration) -> Raw:
        """The credentials; for a tenant of Lark only after a first answer that names it."""
        user_info = {"open_id": found.open_id, "tenant_brand": found.tenant_brand}
        answer: dict[str, Any] = {"client_id": found.app_id, "user_info": user_info}
        if found.tenant_brand == "feishu" or found.brand_shown:
            answer["client_secret"] = self._world.apps[found.app_id].secret
        found.brand_shown = True
        return _bare(answer)


def _bare(body: dict[str, Any], status: int = 200) -> Raw:
    return Raw(Response(msgspec.json.encode(body), status, headers={"Content-Type": JSON}))


def _failed(error: str, description: str) -> Raw:
    return _bare({"error": error, "error_description": description}, 400)


async def _launch(request: Request) -> Response:
    """Hand the link over to the chat page, which knows who looks at it."""
    return RedirectResponse(f"/sandbox/?{request.url.query}")


def _query(url: str) -> dict[str, str]:
    query = urlsplit(url).query or url
    return {key: values[0] for key, values in parse_qs(query).items()}


def _addons(encoded: str) -> Addons | None:
    """Decode the link's ``addons``: JSON, gzip, base64url without padding.

    Raises:
        PlatformError: 9499 with what is wrong.
    """
    if not encoded:
        return None
    try:
        packed = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        plain = zlib.decompressobj(wbits=31).decompress(packed, ADDONS_BYTES_MAX)
        return msgspec.json.decode(plain, type=Addons)
    except (ValueError, zlib.error, msgspec.MsgspecError) as wrong:
        raise PlatformError(9499, f"addons is not gzipped JSON in base64url: {wrong}") from wrong


def _granted(addons: Addons | None) -> frozenset[str]:
    if addons is None:
        return frozenset()
    asked = frozenset(addons.scopes.get("tenant", ())) & scopes.KNOWN
    return asked | scopes.TEMPLATE if addons.preset is not False else asked


def _events(addons: Addons) -> frozenset[str]:
    if addons.preset is not False:
        return TEMPLATE_EVENTS
    items = addons.events.get("items", {}).get("tenant", [])
    return (frozenset(items) | frozenset(addons.callbacks.get("items", []))) & TEMPLATE_EVENTS
