"""What ``larkd doctor`` finds of the certificates that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from actors.host.certificates import names_not_proven, valid_until
from actors.kit.tls import CertificateUnusable
from protocol.config.doctor import Finding, examine_certificate, fail
from protocol.config.settings import Certificate, Settings
from protocol.wire.addresses import parse_addresses


def examine_certificates(settings: Settings, now_ms: int) -> Iterator[Finding]:
    """Look at each certificate: whether it can be used, until when, and for which names."""
    for key, certificate in _named(settings):
        try:
            until = valid_until(certificate.cert_file, certificate.key_file)
            missing = names_not_proven(
                certificate.cert_file,
                certificate.key_file,
                _advertised(settings) if key == "listen.tls" else [],
            )
        except CertificateUnusable as wrong:
            yield fail(f"certificate {key}", str(wrong), f"correct the files of [{key}]")
            continue
        day = datetime.fromtimestamp(until, UTC).date().isoformat()
        left_days = (until - now_ms / 1000) / 86_400
        yield examine_certificate(key, certificate.cert_file, day, left_days)
        for name in missing:
            yield fail(
                f"certificate {key}",
                f"{certificate.cert_file} is not for {name}, which cluster.advertise names",
                f"let it be issued for {name}, or advertise the name it is for",
            )


def _named(settings: Settings) -> Iterator[tuple[str, Certificate]]:
    for key, certificate in (
        ("listen.tls", settings.listen.tls),
        ("metrics.tls", settings.metrics.tls if settings.metrics else None),
        ("console.tls", settings.console.tls if settings.console else None),
    ):
        if certificate is not None:
            yield key, certificate


def _advertised(settings: Settings) -> list[str]:
    """Return the hosts that proxies of other machines are sent to."""
    if settings.cluster is None:
        return []
    addresses = parse_addresses(",".join(settings.cluster.advertise)) or ()
    return [one.host for one in addresses if one.tls]
