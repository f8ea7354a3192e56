"""Opening the addresses a daemon listens on, or the error that names what to change."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
import trio

from actors.kit.tls import CertificateUnusable
from actors.kit.tls_serving import Files, TlsListener
from protocol.config.settings import Certificate, Listen, TlsListen
from protocol.errors import ConfigurationError

Listeners = Sequence[trio.abc.Listener[trio.abc.Stream]]

ACCEPT_BACKLOG: Final = 1_024
_REMEDIES: Final = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another address",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another one",
    errno.EACCES: "a port below 1024 needs more rights; choose another one",
}

log = structlog.get_logger()


class CannotListen(Exception):
    """An address can't be listened on; the text names it, the reason and the remedy."""


async def open_all(
    open_plain: Callable[[str, int], Awaitable[tuple[Listeners, int]]], listen: Listen
) -> tuple[Listeners, int]:
    """Open the plain address and, where there is one, that with TLS; return the plain port.

    Raises:
        CannotListen: an address can't be used.
        ConfigurationError: the certificate can't.
    """
    listeners, port = await open_plain(listen.host, listen.port)
    if listen.tls is not None:
        listeners = [*listeners, *await open_tls_listeners(listen.tls)]
    return listeners, port


async def open_tls_listeners(tls: TlsListen) -> list[TlsListener]:
    """Listen with TLS 1.3, by a certificate that is read again when its files change.

    Raises:
        CannotListen: the address can't be used.
        ConfigurationError: the certificate can't.
    """
    files = certificate_files(tls, "listen.tls")
    inner = await open_listeners(tls.host, tls.port, option="listen.tls.host and .port")
    return [TlsListener(one, files) for one in inner]


def certificate_files(certificate: Certificate | TlsListen, key: str) -> Files:
    """Read a certificate's files; *key* is where the configuration names them.

    Raises:
        ConfigurationError: they can't be used.
    """
    try:
        return Files(certificate.cert_file, certificate.key_file, certificate.client_ca_file)
    except CertificateUnusable as wrong:
        raise ConfigurationError(f"{key}: {wrong}") from None


async def open_listeners(host: str, port: int, *, option: str) -> list[trio.SocketListener]:
    """Listen on *host* and *port*; *option* is where another address is chosen.

    Raises:
        CannotListen: the address is taken, unknown or forbidden; it is in the log too.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=ACCEPT_BACKLOG)
    except OSError as failed:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        number = failed.errno if failed.errno is not None else 0
        # Trio's own text repeats address and family; the system's is what people search for.
        reason = (
            os.strerror(number) if number in errno.errorcode else failed.strerror or str(failed)
        )
        remedy = _REMEDIES.get(number, "choose another address")
        log.critical("daemon.cannot_listen", address=shown, reason=reason)
        raise CannotListen(f"can't listen on {shown}: {reason}; {remedy} with {option}") from None
