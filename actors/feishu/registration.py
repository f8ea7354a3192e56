"""The registration endpoint over HTTP: one call at a time, each with a deadline."""

from __future__ import annotations

from typing import Any, Final

import httpx
import msgspec
import trio

from actors.feishu.http import proxy_of, proxy_to, reason_of
from actors.feishu.tls import tls_context
from protocol.platform import registration
from protocol.platform.http_proxy import ProxyUnusableError

CALL_WITHIN_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 * 1024


class Unreachable(Exception):
    """The accounts host gave no answer that can be read; it may do so later."""


class Registrar:
    """Begins and polls device codes at one accounts host, and at Lark's where it must."""

    def __init__(self, accounts_url: str, lark_accounts_url: str) -> None:
        self._urls = {"feishu": accounts_url, "lark": lark_accounts_url}

    async def begin(self) -> registration.Begun:
        """Begin a device code.

        Raises:
            Unreachable: no answer, or the host makes no apps this way.
        """
        if not registration.supports_us(await self._post({"action": "init"})):
            raise Unreachable(f"{self._urls['feishu']} makes no apps with a client secret")
        begun = registration.read_begun(await self._post(registration.begin_form()))
        if begun is None:
            raise Unreachable(f"{self._urls['feishu']} gave no device code")
        return begun

    async def wait(
        self, device_code: str, interval_s: float
    ) -> registration.Approved | registration.Denied:
        """Poll until it is decided. Cancel it to give up; nothing is held."""
        while True:
            match await self._poll(device_code):
                case registration.Approved() | registration.Denied() as decided:
                    return decided
                case registration.Pending(slower_by_s=slower_by_s):
                    interval_s = min(interval_s + slower_by_s, registration.INTERVAL_MAX_S)
            await trio.sleep(interval_s)

    async def _poll(self, device_code: str) -> registration.Polled:
        """Poll once; what the network does to it is another try later."""
        form = registration.poll_form(device_code)
        try:
            polled = registration.read_poll(await self._post(form))
            if isinstance(polled, registration.AskLark):
                polled = registration.read_poll(await self._post(form, host="lark"))
        except Unreachable:
            return registration.Pending()
        return registration.Pending() if isinstance(polled, registration.AskLark) else polled

    async def _post(self, form: dict[str, str], host: str = "feishu") -> dict[str, Any]:
        url = self._urls[host] + registration.PATH
        content = b""
        try:
            with trio.fail_after(CALL_WITHIN_S):
                async with (
                    httpx.AsyncClient(
                        trust_env=False, proxy=proxy_to(url), verify=tls_context()
                    ) as http,
                    http.stream(
                        "POST", url, data=form, headers={"Accept-Encoding": "identity"}
                    ) as answer,
                ):
                    async for chunk in answer.aiter_raw():
                        content += chunk
                        if len(content) > ANSWER_BYTES_MAX:
                            raise Unreachable(f"{url} answered far too much")
        except trio.TooSlowError:
            raise Unreachable(f"{url} did not answer in {CALL_WITHIN_S:g} s") from None
        except ProxyUnusableError as unusable:
            raise Unreachable(f"{url}: {unusable}") from None
        except (httpx.HTTPError, OSError) as failed:
            raise Unreachable(f"{url}: {reason_of(failed, proxy_of(url))}") from None
        try:
            found: dict[str, Any] = msgspec.json.decode(content, type=dict)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Unreachable(f"{url} answered without JSON") from None
        return found
