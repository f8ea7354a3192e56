"""Streams that speak TLS 1.3, and whom a client verifies; what serves is in ``tls_serving``."""

from __future__ import annotations

import ssl
from typing import Final

import trio

CLOSE_WITHIN_S: Final = 1.0
"""For the close notice: a peer that reads nothing more must not hold the socket."""


class CertificateUnusable(Exception):
    """The files of a certificate can't be used; the text names them and the remedy."""


class TlsRefused(trio.BrokenResourceError):
    """One end refused the other's certificate; the text is why, and what to change."""


OF_THEIR_AUTHORITY: Final = (
    "where the node wants certificates (its listen.tls.clientCaFile), LARKD_CERT_FILE and"
    " LARKD_KEY_FILE must name one of that authority"
)
_REMEDIES: Final = (
    ("certificate has expired", "renew it (listen.tls.certFile of the node)"),
    ("mismatch", "name the node as its certificate does, in LARKD_ADDRESS and cluster.advertise"),
    ("CERTIFICATE_VERIFY_FAILED", "is LARKD_CA_FILE who signed its certificate?"),
    ("ALERT", OF_THEIR_AUTHORITY),
)
"""By the text of OpenSSL, the first that fits."""


def refusal(failed: BaseException) -> TlsRefused | None:
    """Return why TLS failed, with the remedy; None: the connection was lost otherwise."""
    cause = failed.__cause__
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError):
        return None
    reason = f"{cause.reason} {cause}"
    remedy = next((remedy for text, remedy in _REMEDIES if text in reason), None)
    return TlsRefused(f"TLS: {cause}" + (f"; {remedy}" if remedy else ""))


class TlsStream(trio.abc.Stream):
    """A stream that speaks TLS, and whose close never waits for its peer."""

    def __init__(
        self,
        transport: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self.transport = transport
        self._tls = trio.SSLStream(
            transport, context, server_side=server_side, server_hostname=server_hostname
        )

    async def shake_hands(self) -> None:
        """Make the handshake; the first use of the stream makes it otherwise.

        Raises:
            TlsRefused: the peer is not who it should be.
            BrokenResourceError: it went away.
        """
        try:
            await self._tls.do_handshake()
        except trio.BrokenResourceError as failed:
            raise refusal(failed) or failed from failed.__cause__

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            return await self._tls.receive_some(max_bytes)
        except trio.BrokenResourceError as failed:
            # In TLS 1.3 a client learns here that its certificate was refused.
            raise refusal(failed) or failed from failed.__cause__

    async def aclose(self) -> None:
        try:
            with trio.move_on_after(CLOSE_WITHIN_S):
                await self._tls.aclose()
        except trio.BrokenResourceError:
            pass  # the peer was gone before us
        finally:
            await trio.aclose_forcefully(self.transport)


def client_context(
    ca_file: str | None, cert_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Return what verifies a daemon's name and certificate; None: the system's authorities.

    Raises:
        CertificateUnusable: a file can't be used; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    named = ca_file
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
        if cert_file is not None:
            named = f"{cert_file} with {key_file}"
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as failed:
        raise CertificateUnusable(
            f"{named} can't be used ({failed}); it must be PEM that this user may read"
        ) from failed
    return context
