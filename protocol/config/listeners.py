"""The addresses a daemon listens on, and what each needs beyond loopback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from protocol.config.checks import CheckFailed, Problems
from protocol.config.keys import in_snake_case, is_loopback
from protocol.config.settings import Certificate, HttpListen, Listen, Settings, TlsListen

DEFAULT_TLS_HOST: Final = "0.0.0.0"  # noqa: S104  # what a TLS listener is for
DEFAULT_TLS_PORT: Final = 7346


def read_listen(
    found: Mapping[str, Any],
    overrides: Iterable[tuple[str, Mapping[str, Any] | None]],
    problems: Problems,
) -> Listen:
    """Where proxies connect. *overrides* replace host and port only, the first one wins."""
    address, host_path = found, "listen.host"
    for path, override in overrides:
        if override is not None:
            address, host_path = override, path
            break
    tls = found.get("tls")
    listen = Listen(
        **{key: address[key] for key in ("host", "port") if key in address},
        insecure=found.get("insecure", False),
        tls=None if tls is None else _tls_listen(tls, problems),
    )
    if not listen.insecure and not is_loopback(listen.host):
        problems.add(
            CheckFailed(
                host_path,
                "is a string that names an address beyond loopback, where anybody on the network"
                " may connect; allowed: 127.0.0.1, ::1, localhost, with listen.tls for other"
                " machines, or listen.insecure = true",
            )
        )
    return listen


def read_http_listen(
    top: Mapping[str, Any], key: str, default_port: int, problems: Problems
) -> HttpListen | None:
    """Where ``metrics`` or ``console`` is served; None where the key is not there."""
    if key not in top:
        return None
    found: Mapping[str, Any] = top[key]
    tls = found.get("tls")
    listen = HttpListen(
        **{part: found[part] for part in ("host", "insecure") if part in found},
        port=found.get("port", default_port),
        tls=None if tls is None else _certificate(tls, f"{key}.tls", problems),
    )
    if tls is None and not listen.insecure and not is_loopback(listen.host):
        problems.add(
            CheckFailed(
                f"{key}.host",
                "is a string that names an address beyond loopback, where anybody on the network"
                f" may read it; allowed: 127.0.0.1, ::1, localhost, or with {key}.tls,"
                f" or with {key}.insecure = true",
            )
        )
    return listen


def check_one_http_address(settings: Settings, problems: Problems) -> None:
    """Metrics and console under one address are served alike."""
    metrics, console = settings.metrics, settings.console
    if metrics is None or console is None or settings.one_http_address or console.port == 0:
        return
    if (console.host, console.port) == (metrics.host, metrics.port):
        problems.add(
            CheckFailed(
                "console.port",
                "is the port of metrics, which is served with other tls or insecure;"
                " write the same in both, or another port",
            )
        )


def _tls_listen(found: Mapping[str, Any], problems: Problems) -> TlsListen | None:
    certificate = _certificate(found, "listen.tls", problems)
    if certificate is None:
        return None
    return TlsListen(
        host=found.get("host", DEFAULT_TLS_HOST),
        port=found.get("port", DEFAULT_TLS_PORT),
        cert_file=certificate.cert_file,
        key_file=certificate.key_file,
        client_ca_file=certificate.client_ca_file,
    )


def _certificate(found: Mapping[str, Any], path: str, problems: Problems) -> Certificate | None:
    for key, what in (("certFile", "certificate"), ("keyFile", "private key")):
        if key not in found and not problems.has(f"{path}.{key}"):
            problems.add(
                CheckFailed(f"{path}.{key}", f"is missing; write the path of the {what} (PEM)")
            )
    if not {"certFile", "keyFile"} <= found.keys():
        return None
    chosen = {key: found[key] for key in ("certFile", "keyFile", "clientCaFile") if key in found}
    return Certificate(**in_snake_case(chosen))
