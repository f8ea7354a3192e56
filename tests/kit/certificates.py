"""Certificates for one test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path, name: str) -> Path:
    """Return a file with key and certificate of *name*, as ``DNS:host`` or ``IP:address``.

    The certificate alone stands beside it, under its name with ``.crt``. Skips the test
    where openssl is missing.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    path = folder / "server.pem"
    request = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={name.partition(':')[2]} -addext subjectAltName={name}"
    )
    subprocess.run(
        [openssl, *request.split(), "-keyout", path, "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path
