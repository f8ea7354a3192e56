"""Commands of a machine that runs no node, over TLS to whichever node holds the cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from actors.proxies.client import DaemonNotRunning, ProxySettings, open_proxy
from protocol.wire.addresses import parse_address, parse_addresses
from tests.actors.proxies.test_client import attached
from tests.cluster.nodes import Certificates, Fleet, Place, echoing
from tests.kit.daemon import open_platform
from tests.kit.ports import free_port
from tests.kit.postgres import Server


async def test_commands_find_the_holder_and_act_with_the_role_they_need(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with (
            fleet.node("a") as a,
            echoing([a], ["boss", "mate"], certificates) as (boss, mate),
        ):
            await a.wait_ready()
            await boss.wait_registered("a")
            await mate.wait_registered("a")
            async with fleet.node("b") as b:
                await b.wait_standing_by()
                # Only the standby is named: it answers where the holder is.
                status, shown, why = await fleet.from_afar(a, "status", "--json", at=b.tls_address)
                assert (status, why) == (0, "")
                assert json.loads(shown)["daemon"]["node"] == "a"
                status, _, why = await fleet.from_afar(
                    a, "handoff", "grant", "mate", at=b.tls_address
                )
                assert (status, why) == (0, "")
                _, shown, _ = await fleet.from_afar(a, "status", "--json", at=b.tls_address)
                assert json.loads(shown)["granted_session_id"] == "mate"


async def test_a_node_that_is_gone_is_passed_over(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        gone = f"tls://localhost:{free_port()}"
        async with fleet.node("a") as a:
            await a.wait_ready()
            both = f"{gone},{a.tls_address}"
            status, shown, _ = await fleet.from_afar(a, "status", "--json", at=both)
            assert (status, json.loads(shown)["daemon"]["node"]) == (0, "a")
            status, _, why = await fleet.from_afar(a, "status", at=gone)
            assert status == 1
            assert why.startswith(f"larkd status: no node at LARKD_ADDRESS ({gone}) serves: ")
            status, _, why = await fleet.from_afar(a, "status", at="a.example")
            assert status != 0
            assert "LARKD_ADDRESS: 'a.example' is no list of addresses" in why
            only_session = root / "mine"
            only_session.write_bytes((a.state_dir / "tokens" / "session.token").read_bytes())
            # A session's token shows the status, and hands nothing over.
            status, _, why = await fleet.from_afar(
                a, "status", at=a.tls_address, LARKD_TOKEN_FILE=str(only_session)
            )
            assert (status, why) == (0, "")
            status, _, why = await fleet.from_afar(
                a, "handoff", "reclaim", at=a.tls_address, LARKD_TOKEN_FILE=str(only_session)
            )
            assert status == 1
            assert why == (
                f"larkd handoff: larkd refused: the token in {only_session} is not that of role"
                " dispatcher (bad_proof); copy tokens/dispatcher.token from the daemon's state"
                " directory, and name the copy in LARKD_TOKEN_FILE\n"
            )


@pytest.mark.parametrize(
    ("days", "names", "reason"),
    [
        (-1, "DNS:localhost", "certificate has expired.*; renew it"),
        (2, "DNS:other.example", "Hostname mismatch.*; name the node as its certificate does"),
    ],
    ids=["expired", "of another name"],
)
async def test_a_certificate_that_proves_nothing_is_believed_by_nobody(
    days: int, names: str, reason: str, server: Server, cluster: str, root: Path
) -> None:
    folder = root / "certificates"
    folder.mkdir()
    wrong = Certificates.made(folder, days=days, names=names)
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, wrong)
        async with fleet.node("a") as a:
            await a.wait_ready()
            status, _, why = await fleet.from_afar(a, "status", at=a.tls_address)
            assert status == 1
            assert re.search(reason, why)
            address = parse_address(a.tls_address)
            assert address is not None
            settings = ProxySettings(
                session_id="s",
                addresses=(address,),
                token_file=a.state_dir / "tokens" / "session.token",
                ca_file=wrong.ca,
            )
            with pytest.raises(DaemonNotRunning, match=reason):
                async with open_proxy(settings):
                    raise AssertionError("a session was registered")


async def test_a_node_that_wants_certificates_lets_in_who_shows_one_of_its_authority(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    mine, strange = (
        Certificates.made(_folder(root, name), names="DNS:proxy") for name in ("mine", "strange")
    )

    def shown(one: Certificates) -> dict[str, str]:
        return {"LARKD_CERT_FILE": str(one.cert), "LARKD_KEY_FILE": str(one.key)}

    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, certificates)
        async with fleet.node("a", place=Place(client_ca=mine.ca)) as a:
            await a.wait_ready()
            at = a.tls_address
            status, shown_status, why = await fleet.from_afar(a, "status", at=at, **shown(mine))
            assert (status, why) == (0, "")
            assert "connections" in shown_status
            for variables, reason in (
                ({}, "LARKD_CERT_FILE and LARKD_KEY_FILE must name one of that authority"),
                (shown(strange), "(its listen.tls.clientCaFile), LARKD_CERT_FILE"),
                ({"LARKD_CERT_FILE": str(mine.cert)}, "belong together: set both"),
                (shown(mine) | {"LARKD_KEY_FILE": str(strange.key)}, "can't be used"),
            ):
                status, _, why = await fleet.from_afar(a, "status", at=at, **variables)
                assert status in (1, 2)
                assert reason in why
                assert "Traceback" not in why
            settings = ProxySettings(
                session_id="s",
                addresses=parse_addresses(at) or (),
                token_file=a.state_dir / "tokens" / "session.token",
                ca_file=certificates.ca,
            )
            with pytest.raises(
                DaemonNotRunning, match="LARKD_CERT_FILE and LARKD_KEY_FILE must name"
            ):
                async with open_proxy(settings):
                    raise AssertionError("a session was registered")
            known = msgspec.structs.replace(settings, cert_file=mine.cert, key_file=mine.key)
            async with open_proxy(known) as proxy:
                assert attached(proxy) is not None


async def test_a_renewed_certificate_is_shown_without_a_restart(
    server: Server, cluster: str, root: Path
) -> None:
    used = Certificates.made(_folder(root, "used"))
    renewed = Certificates.made(_folder(root, "renewed"))
    async with open_platform() as platform:
        fleet = Fleet(platform, root, server.url(), cluster, used)
        async with fleet.node("a") as a:
            await a.wait_ready()
            settings = ProxySettings(
                session_id="s",
                addresses=parse_addresses(a.tls_address) or (),
                token_file=a.state_dir / "tokens" / "session.token",
                ca_file=used.ca,
            )
            by_renewed = msgspec.structs.replace(settings, ca_file=renewed.ca, session_id="t")
            async with open_proxy(settings) as before:
                used.cert.write_text("half a certificate")
                async with open_proxy(msgspec.structs.replace(settings, session_id="u")):
                    pass  # the last good one stays in force
                assert (await a.wait_event("tls.certificate_unusable"))["level"] == "error"
                used.key.write_bytes(renewed.key.read_bytes())
                used.cert.write_bytes(renewed.cert.read_bytes())
                async with open_proxy(by_renewed) as after:
                    assert attached(after) is not None
                assert attached(before) is not None, "who was connected stays"
                with pytest.raises(DaemonNotRunning, match="is LARKD_CA_FILE who signed"):
                    async with open_proxy(msgspec.structs.replace(settings, session_id="v")):
                        raise AssertionError("a session was registered")


def _folder(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    return folder
