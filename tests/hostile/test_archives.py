"""A backup that somebody else made: it writes nothing elsewhere, and takes no memory."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.host.archive import Manifest, extract, read_manifest, write
from protocol.errors import ConfigurationError

LARGE = 100 * 1024 * 1024


def member(name: str, content: bytes = b"x", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for key, value in more.items():
        setattr(made, key, value)
    return made, content


ELSEWHERE = [
    member("../outside"),
    member("/tmp/larkd-outside"),  # noqa: S108  # it must not be written
    member("larkd.db", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    member("larkd.db", b"", type=tarfile.LNKTYPE, linkname="../outside"),
    member("larkd.db", b"", type=tarfile.FIFOTYPE),
    member("larkd.db/../../outside"),
    member("tokens/dispatcher.token\0.txt", b"other"),
]


def hostile(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))


def test_only_files_of_known_names_are_written_and_only_where_they_belong(tmp_path: Path) -> None:
    source, target = tmp_path / "backup", tmp_path / "state" / "larkd.db"
    target.parent.mkdir()
    hostile(source, *ELSEWHERE)
    assert extract(source, {"larkd.db": target}) == set()
    hostile(source, *ELSEWHERE, member("larkd.db", b"journal"), *ELSEWHERE)
    assert extract(source, {"larkd.db": target}) == {"larkd.db"}
    assert target.read_bytes() == b"journal"
    assert not target.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert {one.name for one in tmp_path.rglob("*")} == {"backup", "state", "larkd.db"}
    assert not Path("/tmp/larkd-outside").exists()  # noqa: S108


def _name_of_any_length(path: Path) -> None:
    hostile(path, member("x" * LARGE))


def _attributes_of_any_length(path: Path) -> None:
    hostile(path, member("x", pax_headers={"comment": "y" * LARGE}))


def _members_without_end(path: Path) -> None:
    header = member("x", b"")[0].tobuf()
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for _ in range(200):
            archive.fileobj.write(header * 1_000)


@pytest.mark.parametrize(
    "make", [_name_of_any_length, _attributes_of_any_length, _members_without_end]
)
def test_what_an_archive_claims_of_itself_takes_no_memory(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    source = tmp_path / "backup"
    make(source)
    assert source.stat().st_size < 2_000_000
    reading = f"""
import resource, sys
from pathlib import Path
from actors.host.archive import extract, read_manifest
from protocol.errors import ConfigurationError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read_manifest(Path({str(source)!r})))
try:
    extract(Path({str(source)!r}), {{}})
except ConfigurationError as refused:
    print(refused)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", reading], capture_output=True, check=True)
    manifest, refused, *_, grown_mb = ran.stdout.decode().splitlines()
    assert manifest == "None"
    assert "can't be read to its end" in refused
    assert int(grown_mb) < 50


def test_a_file_that_is_no_backup_stays_and_a_backup_is_read_back(tmp_path: Path) -> None:
    target, journal = tmp_path / "backup", tmp_path / "larkd.db"
    journal.write_bytes(b"journal")
    target.write_bytes(b"something else")
    made = Manifest(larkd="1", made_at=1)
    with pytest.raises(ConfigurationError, match="is no backup"):
        write(target, made, {"larkd.db": journal})
    target.unlink()
    write(target, made, {"larkd.db": journal})
    assert read_manifest(target) == made
    restored = tmp_path / "restored"
    assert extract(target, {"larkd.db": restored}) == {"larkd.db"}
    assert restored.read_bytes() == b"journal"
