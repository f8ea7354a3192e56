"""What a certificate of ours proves, as its clients would find: until when, and which names.

Python reads the fields of a certificate for those who verify a peer; so a handshake is made
in memory, between the files and a client that trusts nothing but them.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

from actors.kit.tls import CertificateUnusable
from actors.kit.tls_serving import Files

_NO_CHECK_TIME: Final = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME`` of OpenSSL, which Python has no name for."""
_STEPS_MAX: Final = 10


def valid_until(cert_file: str, key_file: str) -> float:
    """Return when a certificate ends, in seconds since 1970, be it over or not.

    Raises:
        CertificateUnusable: the files are not a certificate and its key; the text is why.
    """
    shown = _shown(cert_file, key_file, None)
    return ssl.cert_time_to_seconds(str(shown["notAfter"]))


def names_not_proven(cert_file: str, key_file: str, names: Sequence[str]) -> list[str]:
    """Return those of *names*, of hosts, that the certificate is not for.

    Raises:
        CertificateUnusable: as of :func:`valid_until`.
    """
    missing: list[str] = []
    for name in names:
        try:
            _shown(cert_file, key_file, name)
        except ssl.SSLCertVerificationError:
            missing.append(name)
    return missing


def _shown(cert_file: str, key_file: str, name: str | None) -> dict[str, object]:
    """Return what a client that verifies *name*, if it is given, learns of the certificate."""
    serving = Files(cert_file, key_file).context()
    verifying = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    verifying.check_hostname = name is not None
    verifying.load_verify_locations(cert_file)
    verifying.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = verifying.wrap_bio(back, there, server_hostname=name)
    server = serving.wrap_bio(there, back, server_side=True)
    for _ in range(_STEPS_MAX):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            try:
                server.do_handshake()
            except ssl.SSLWantReadError:
                continue
        except ssl.SSLCertVerificationError as failed:
            if name is not None:
                raise
            raise CertificateUnusable(f"{cert_file} can't be used ({failed})") from failed
        else:
            return dict(client.getpeercert() or {})
    raise CertificateUnusable(f"{cert_file} can't be used: no handshake can be made with it")
