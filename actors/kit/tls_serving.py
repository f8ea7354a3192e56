"""Listeners that speak TLS 1.3, and whose certificate may change while they serve."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Final

import structlog
import trio

from actors.kit.tls import CertificateUnusable, TlsStream

HANDSHAKE_WITHIN_S: Final = 5.0

log = structlog.get_logger()


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


class TlsListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives streams that speak TLS; the handshake is made with the first use of each."""

    def __init__(self, inner: trio.abc.Listener[trio.SocketStream], files: Files) -> None:
        self._inner = inner
        self._files = files

    async def accept(self) -> trio.abc.Stream:
        return TlsStream(await self._inner.accept(), self._files.context(), server_side=True)

    async def aclose(self) -> None:
        await self._inner.aclose()


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
