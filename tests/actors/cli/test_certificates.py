"""What `larkd doctor` finds of certificates: until when they are valid, and for whom."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from actors.cli.doctor_certificates import examine_certificates
from protocol.config.doctor import Finding
from protocol.config.reading import read_settings
from protocol.config.settings import ClusterSettings, Secret, Settings
from tests.cluster.nodes import Certificates

ACCOUNT = {"channels": [{"id": "feishu", "type": "feishu", "options": {}}]}
ENV = {"LARKD_APP_ID": "cli_a1b2c3d4e5f60718", "LARKD_APP_SECRET": "secret"}


def settings(cert: Path, key: Path, *advertised: str) -> Settings:
    tls = {"host": "127.0.0.1", "port": 7346, "certFile": str(cert), "keyFile": str(key)}
    read = read_settings({**ACCOUNT, "listen": {"tls": tls}}, ENV, lambda name: name)
    cluster = ClusterSettings(name="c", database=Secret("x"), advertise=advertised)
    return msgspec.structs.replace(read, cluster=cluster)


def found(one: Settings) -> list[Finding]:
    return [*examine_certificates(one, time.time_ns() // 1_000_000)]


@pytest.mark.parametrize(
    ("days", "state", "shown"),
    [(-1, "fail", "expired on"), (5, "warn", "in 4 days"), (60, "ok", "is valid until")],
)
def test_the_day_on_which_a_certificate_ends_is_named(
    tmp_path: Path, days: int, state: str, shown: str
) -> None:
    before = datetime.now(UTC) + timedelta(days=days)  # a second may be of the next day
    made = Certificates.made(tmp_path, days=days)
    after = datetime.now(UTC) + timedelta(days=days)
    (finding,) = found(settings(made.cert, made.key, "tls://localhost:7346"))
    assert finding.state == state
    assert shown in finding.found
    assert any(when.date().isoformat() in finding.found for when in (before, after))
    if state != "ok":
        assert finding.remedy == "renew it; the new files are read without a restart"


def test_a_certificate_that_is_for_another_name_than_is_advertised(tmp_path: Path) -> None:
    made = Certificates.made(tmp_path, days=60, names="DNS:*.nodes.example")
    of = ("tls://a.nodes.example:7346", "tls://a.other:7346")
    good, wrong = found(settings(made.cert, made.key, *of))
    assert good.state == "ok"
    assert wrong.state == "fail"
    assert "is not for a.other, which cluster.advertise names" in wrong.found


def test_files_that_are_no_certificate_and_its_key(tmp_path: Path) -> None:
    made = Certificates.made(tmp_path, days=60)
    (finding,) = found(settings(made.cert, made.ca))
    assert finding.state == "fail"
    assert "must be PEM files" in finding.found
    assert finding.remedy == "correct the files of [listen.tls]"
