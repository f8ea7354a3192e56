"""What a person has to put right at the database: each named, with the remedy."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from actors.journal import JournalUnavailable, schema
from actors.journal.postgres import Target, Watcher
from tests.cluster.nodes import Certificates, Fleet
from tests.kit import postgres
from tests.kit.daemon import open_platform
from tests.kit.postgres import PASSWORD, USER, Server

HOST = "db.example"


def over_tls(server: Server, ca: Path) -> str:
    """A connection string that verifies the name, and reaches the server where it is here."""
    return (
        f"host={HOST} hostaddr=127.0.0.1 port={server.port} user={USER} password='{PASSWORD}'"
        f" dbname=postgres sslmode=verify-full sslrootcert={ca}"
    )


def refusal(database: str) -> str:
    with pytest.raises(JournalUnavailable) as refused:
        Watcher.open(Target(database=database, cluster="c", node="a")).close()
    text = str(refused.value)
    assert PASSWORD not in text
    return text


def test_a_certificate_of_the_database_that_proves_nothing_is_refused(root: Path) -> None:
    def made(name: str, days: int, names: str) -> Certificates:
        folder = root / name
        folder.mkdir()
        return Certificates.made(folder, days=days, names=names)

    good = made("good", 2, f"DNS:{HOST}")
    expired = made("expired", -1, f"DNS:{HOST}")
    other = made("other", 2, "DNS:other.example")
    with (
        tempfile.TemporaryDirectory(prefix="larkd-certificates-", dir="/tmp") as folder,
        postgres.running() as server,
    ):
        assert "turn ssl on in the server" in refusal(over_tls(server, good.ca))

        def show(one: Certificates) -> None:
            """Let the server show another certificate."""
            server.stop()
            for source, name in ((one.cert, "cert"), (one.key, "key")):
                shutil.copy(source, Path(folder, name))
                Path(folder, name).chmod(0o600)
            if (user := postgres.unprivileged()) is not None:
                for path in (folder, f"{folder}/cert", f"{folder}/key"):
                    shutil.chown(path, user)
            server.start(ssl="on", ssl_cert_file=f"{folder}/cert", ssl_key_file=f"{folder}/key")

        show(good)
        Watcher.open(Target(database=over_tls(server, good.ca), cluster="c", node="a")).close()
        assert "set sslrootcert to who signed it" in refusal(over_tls(server, other.ca))
        text = refusal(over_tls(server, Path("/nowhere")))
        assert "set sslrootcert to the certificate that signed the server's" in text
        show(expired)
        assert "renew the server's certificate if it has expired" in refusal(
            over_tls(server, expired.ca)
        )
        show(other)
        text = refusal(over_tls(server, other.ca))
        assert "name the host as the server's certificate does" in text


@pytest.mark.parametrize(
    ("database", "remedy"),
    [
        ("host=a..b sslmode=verify-full", "correct the host in cluster.database"),
        (f"host={'a' * 70} sslmode=verify-full", "correct the host in cluster.database"),
        ("host=127.0.0.1 port=99999", "correct cluster.database"),
        ("host=127.0.0.1 port=word", "correct cluster.database"),
        ("host=127.0.0.1 sslmode=maybe", "correct cluster.database"),
        ("host=127.0.0.1,127.0.0.1 port=1,2,3", "name as many ports as hosts"),
    ],
)
def test_a_connection_string_that_can_not_be_meant_is_refused(database: str, remedy: str) -> None:
    assert remedy in refusal(database)


async def test_a_node_of_an_older_larkd_stands_by_and_logs_why_it_does_not_claim(
    server: Server, certificates: Certificates, cluster: str, root: Path
) -> None:
    target = Target(database=server.url(), cluster=cluster, node="newer")
    with closing(Watcher.open(target)) as newer:
        more = (*schema.MIGRATIONS, "CREATE TABLE added (x INTEGER)")
        assert newer.claim(newer.look(), (), now=time.monotonic, migrations=more)
        newer.connection.execute(
            "UPDATE larkd.claim SET node = NULL WHERE cluster = %s", (cluster,)
        )
        async with open_platform() as platform:
            fleet = Fleet(platform, root, server.url(), cluster, certificates)
            async with fleet.node("a") as a:
                await a.wait_standing_by()
                logged = await a.wait_event("cluster.schema_newer")
                assert "upgrade larkd on this node" in logged["reason"]
                assert newer.look().node is None
