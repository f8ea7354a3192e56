"""TLS 1.3 on both sides: listeners whose certificate may change, and who they are proven to be."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Final

import structlog
import trio

HANDSHAKE_WITHIN_S: Final = 5.0
CLOSE_WITHIN_S: Final = 1.0
"""For the close notice: a peer that reads nothing more must not hold the socket."""

log = structlog.get_logger()


class CertificateUnusable(Exception):
    """The files of a certificate can't be used; the text names them and the remedy."""


class Files:
    """A certificate's PEM files, read again when one of them changes."""

    def __init__(self, cert_file: str, key_file: str, client_ca_file: str | None = None) -> None:
        self.cert_file = cert_file
        self.key_file = key_file
        self._names = [cert_file, key_file, *([] if client_ca_file is None else [client_ca_file])]
        self._client_ca_file = client_ca_file
        self._seen = self._look()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Return the context of the files as they are now; three ``stat`` calls.

        Files that became unusable are logged, and the last good ones stay in force.
        """
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._load()
            except CertificateUnusable as wrong:
                log.error("tls.certificate_unusable", reason=str(wrong))  # noqa: TRY400  # the operator's mistake, no trace of ours
            else:
                log.info("tls.certificate_read", file=self.cert_file)
        return self._context

    def serving_context(self, protocols: Sequence[str]) -> ssl.SSLContext:
        """Return one context, for who takes no other later: each handshake by the files of then.

        *protocols* are offered by ALPN.
        """
        serving = self._load()
        serving.set_alpn_protocols(protocols)

        def choose(connection: ssl.SSLObject, _name: str | None, _of: ssl.SSLContext) -> None:
            now = self.context()
            now.set_alpn_protocols(protocols)
            connection.context = now

        # It is called for every client hello, whether that names a server or not.
        serving.sni_callback = choose
        return serving

    def _look(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for name in self._names:
            try:
                about = os.stat(name)  # noqa: PTH116  # its fields, and no more
            except OSError:
                found.append(None)
            else:
                found.append((about.st_ino, about.st_mtime_ns, about.st_size))
        return found

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
            if self._client_ca_file is not None:
                context.load_verify_locations(self._client_ca_file)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as failed:  # ssl.SSLError is an OSError
            reason = getattr(failed, "strerror", None) or str(failed)
            raise CertificateUnusable(
                f"the certificate {', '.join(self._names)} can't be used ({reason}); they must be"
                " PEM files that this user may read, and the key must be the certificate's"
            ) from failed
        return context


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


class TlsListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives streams that speak TLS; the handshake is made with the first use of each."""

    def __init__(self, inner: trio.abc.Listener[trio.SocketStream], files: Files) -> None:
        self._inner = inner
        self._files = files

    async def accept(self) -> trio.abc.Stream:
        return TlsStream(await self._inner.accept(), self._files.context(), server_side=True)

    async def aclose(self) -> None:
        await self._inner.aclose()


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


async def shake_hands(stream: trio.abc.Stream) -> bool:
    """Make the handshake of a TLS stream; whether it was made in time. True for any other."""
    if not isinstance(stream, TlsStream):
        return True
    with trio.move_on_after(HANDSHAKE_WITHIN_S):
        try:
            await stream.shake_hands()
        except (trio.BrokenResourceError, OSError) as failed:
            log.info("tls.handshake_failed", reason=repr(failed.__cause__ or failed))
            return False
        return True
    return False


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
