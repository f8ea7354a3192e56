"""Pictures an agent's answer names: fetched from the public web, given to the platform.

An address comes from an agent, which may have been made to write it: only public
addresses are connected to, which is decided on what the name resolves to and holds for
that very connection, again after each redirect. A picture is uploaded once for each
account, by its content; who asks for it meanwhile waits for that upload.

Nothing of a picture is decoded here: bytes are counted as they come over the wire, what
comes encoded is refused, and its first bytes decide whether it is a picture.
"""

from __future__ import annotations

import hashlib
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import httpx
import msgspec
import structlog
import trio

from actors.feishu.tls import tls_context
from actors.messages import gateway, pictures
from protocol.ids import AccountId
from protocol.platform.outcomes import ImageUploaded
from protocol.platform.picture_kinds import HEAD_BYTES, picture_kind
from protocol.platform.public_address import PublicTarget, is_public, read_target

FETCH_WITHIN_S: Final = 10.0
UPLOAD_WITHIN_S: Final = 30.0
REDIRECTS_MAX: Final = 5
AT_ONCE_MAX: Final = 8
WAITING_MAX: Final = 256
KEYS_MAX: Final = 1_000
KEY_KEPT_S: Final = 3_600.0
FAILURE_KEPT_S: Final = 60.0

log = structlog.get_logger()

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")
Lookup = Callable[[str, int], Awaitable[list[str]]]
"""``lookup(host, port)``: the IP addresses of a name."""


class PicturesSettings(msgspec.Struct, frozen=True, kw_only=True):
    gateways: dict[AccountId, trio.MemorySendChannel[gateway.GatewayMessage]]
    bytes_max: dict[AccountId, int]
    allowed: Callable[[str], bool] = is_public
    """Whether an IP address may be connected to."""


class PictureRefused(Exception):
    """This picture is not available; the text is the reason."""


async def run(
    settings: PicturesSettings,
    inbox: trio.MemoryReceiveChannel[pictures.PicturesMessage],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until nobody can ask any more."""
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Pictures(settings)
            task_status.started()
            async for message in inbox:
                if actor.waiting >= WAITING_MAX:
                    message.reply.send(None)
                else:
                    nursery.start_soon(actor.resolve, message)
            nursery.cancel_scope.cancel(reason="nobody can ask any more")


class _Finding:
    """A picture that is being looked for."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.image_key: str | None = None


class _Shared(Generic[KeyT]):
    """What is being looked for, by key: who asks for the same meanwhile gets what comes of it.

    All who look are tasks of the actor: nobody who waits outlives the one who looks.
    """

    def __init__(self) -> None:
        self._under_way: dict[KeyT, _Finding] = {}

    async def get(self, key: KeyT, find: Callable[[], Awaitable[str | None]]) -> str | None:
        finding = self._under_way.get(key)
        if finding is not None:
            await finding.done.wait()
            return finding.image_key
        finding = self._under_way[key] = _Finding()
        try:
            finding.image_key = await find()
        finally:
            del self._under_way[key]
            finding.done.set()
        return finding.image_key


class _Pictures:
    def __init__(self, settings: PicturesSettings) -> None:
        self._settings = settings
        self._at_once = trio.CapacityLimiter(AT_ONCE_MAX)
        self._by_url: OrderedDict[tuple[AccountId, str], tuple[float, str | None]] = OrderedDict()
        self._by_content: OrderedDict[tuple[AccountId, bytes], str] = OrderedDict()
        self._fetches = _Shared[tuple[AccountId, str]]()
        self._uploads = _Shared[tuple[AccountId, bytes]]()
        self.waiting = 0

    async def resolve(self, question: pictures.Resolve) -> None:
        self.waiting += 1
        with question.reply:
            try:
                question.reply.send(await self._key(question.account, question.url))
            finally:
                self.waiting -= 1

    async def _key(self, account: AccountId, url: str) -> str | None:
        known = self._by_url.get((account, url))
        if known is not None and trio.current_time() < known[0]:
            return known[1]
        return await self._fetches.get((account, url), lambda: self._find(account, url))

    async def _find(self, account: AccountId, url: str) -> str | None:
        async with self._at_once:
            image_key = await self._fetch_and_upload(account, url)
        kept_s = FAILURE_KEPT_S if image_key is None else KEY_KEPT_S
        self._by_url[account, url] = (trio.current_time() + kept_s, image_key)
        _shrink(self._by_url)
        return image_key

    async def _fetch_and_upload(self, account: AccountId, url: str) -> str | None:
        try:
            data = await fetch(
                url, self._settings.bytes_max[account], allowed=self._settings.allowed
            )
        except PictureRefused as why:
            log.info("feishu.picture_not_fetched", account=account, reason=str(why))
            return None
        content = (account, hashlib.sha256(data).digest())
        if content in self._by_content:
            return self._by_content[content]
        return await self._uploads.get(content, lambda: self._upload(content, data))

    async def _upload(self, content: tuple[AccountId, bytes], data: bytes) -> str | None:
        account, _ = content
        outcome = await gateway.call(
            self._settings.gateways[account],
            gateway.UploadImage(image=data),
            gateway.Priority.STRUCTURE,
            within_s=UPLOAD_WITHIN_S,
        )
        if not isinstance(outcome, ImageUploaded):
            log.info("feishu.picture_not_taken", account=account, outcome=type(outcome).__name__)
            return None
        self._by_content[content] = outcome.image_key
        _shrink(self._by_content)
        return outcome.image_key


class _Redirect(msgspec.Struct, frozen=True):
    location: str


def _shrink(known: OrderedDict[KeyT, ValueT]) -> None:
    while len(known) > KEYS_MAX:
        known.popitem(last=False)


async def fetch(
    url: str,
    bytes_max: int,
    *,
    allowed: Callable[[str], bool] = is_public,
    lookup: Lookup | None = None,
) -> bytes:
    """Return what is at an address of the public web, within ten seconds.

    Raises:
        PictureRefused: it is not public, not there, no picture, or too large.
    """
    with trio.move_on_after(FETCH_WITHIN_S):
        for _ in range(REDIRECTS_MAX + 1):
            target = read_target(url)
            if target is None:
                raise PictureRefused("it is no http or https address")
            address = await _address(target, allowed, lookup or _look_up)
            answer = await _get(target, address, bytes_max)
            if not isinstance(answer, _Redirect):
                return answer
            url = _joined(url, answer.location)
        raise PictureRefused("too many redirects")
    raise PictureRefused(f"no answer in {FETCH_WITHIN_S:g} s")


async def _address(target: PublicTarget, allowed: Callable[[str], bool], lookup: Lookup) -> str:
    """Return the address to connect to: every one the name has must be public."""
    try:
        addresses = await lookup(target.host, target.port)
    except (OSError, UnicodeError) as failed:  # the latter: no name of a host at all
        raise PictureRefused(f"the name has no address ({failed})") from failed
    if not addresses or not all(map(allowed, addresses)):
        raise PictureRefused("it is not on the public network")
    return addresses[0]


async def _look_up(host: str, port: int) -> list[str]:
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _joined(url: str, location: str) -> str:
    try:
        return str(httpx.URL(url).join(location))
    except (httpx.InvalidURL, ValueError) as wrong:
        raise PictureRefused("it has moved to no address") from wrong


async def _get(target: PublicTarget, address: str, bytes_max: int) -> bytes | _Redirect:
    """Return the body, or where a redirect leads. The connection goes to *address* alone."""
    host = f"[{address}]" if ":" in address else address
    url = f"{target.scheme}://{host}:{target.port}{target.path}"
    headers = {
        "Host": target.host_header,
        "User-Agent": "larkd",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
    }
    try:
        async with (
            httpx.AsyncClient(
                trust_env=False, timeout=FETCH_WITHIN_S, verify=tls_context()
            ) as http,
            http.stream(
                "GET", url, headers=headers, extensions={"sni_hostname": target.host}
            ) as answer,
        ):
            if answer.has_redirect_location:
                return _Redirect(answer.headers["location"])
            return await _body(answer, bytes_max)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as failed:
        raise PictureRefused(f"{type(failed).__name__}") from failed


async def _body(answer: httpx.Response, bytes_max: int) -> bytes:
    if answer.status_code != httpx.codes.OK:
        raise PictureRefused(f"HTTP {answer.status_code}")
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        # A thousand bytes may unpack to gigabytes, and we asked for none of it.
        raise PictureRefused(f"it comes encoded as {encoding[:60]!r}, which was not asked for")
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) > bytes_max:
        raise PictureRefused(f"it is over {bytes_max} bytes")
    read = bytearray()
    # Cancelled, the client's generators unwind; left early they would not.
    with trio.CancelScope() as enough:
        async for chunk in answer.aiter_raw():
            read += chunk
            if len(read) > bytes_max or (len(read) >= HEAD_BYTES and not picture_kind(read)):
                enough.cancel(reason="too large, or no picture")
    if picture_kind(read) is None:
        raise PictureRefused("it is no picture by its first bytes")
    if len(read) > bytes_max:
        raise PictureRefused(f"it is over {bytes_max} bytes")
    return bytes(read)
