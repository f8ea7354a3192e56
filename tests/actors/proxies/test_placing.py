"""Attachments below the agent's own directory: names, links, what git and age do to them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from actors.proxies.placing import KEPT_S, placed
from protocol.wire.messages import Attachment, Deliver

PNG = b"\x89PNG\r\n\x1a\n and more"


class Given:
    """A daemon's own folder, and the directory of an agent."""

    def __init__(self, root: Path) -> None:
        self.own = root / "state"
        self.own.mkdir()
        self.cwd = root / "work"
        self.cwd.mkdir()
        self.count = 0

    def file(self, name: str, data: bytes = b"data", kind: str = "file") -> Attachment:
        self.count += 1
        path = self.own / f"{self.count}-file"
        path.write_bytes(data)
        return Attachment(
            kind="image" if kind == "image" else "file",
            name=name,
            file_key=f"key-{self.count}",
            path=os.fspath(path),
        )

    def deliver(self, *attachments: Attachment, message_id: str = "om_1") -> Deliver:
        return Deliver(
            event_id="evt-1",
            turn_id="turn",
            attempt=1,
            lease_epoch=1,
            chat_id="oc_1",
            content="look",
            meta={"message_id": message_id},
            attachments=list(attachments),
        )

    def placed(self, *attachments: Attachment, message_id: str = "om_1") -> list[str]:
        """Return where they are, below the directory."""
        deliver = placed(self.deliver(*attachments, message_id=message_id), os.fspath(self.cwd))
        paths = [Path(one.path) for one in deliver.attachments if one.path is not None]
        return [os.fspath(path.relative_to(self.cwd)) for path in paths]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path)


def test_each_keeps_its_own_name(given: Given) -> None:
    data = bytes(range(256)) * 10_000  # more than one piece
    paths = given.placed(given.file("report.pdf", data), given.file("报告.md"))
    assert paths == [".larkd/attachments/om_1/report.pdf", ".larkd/attachments/om_1/报告.md"]
    assert (given.cwd / paths[0]).read_bytes() == data
    assert (given.cwd / paths[0]).stat().st_mode & 0o777 == 0o600
    assert (given.cwd / ".larkd").stat().st_mode & 0o777 == 0o700
    assert [one.name for one in (given.cwd / paths[0]).parent.iterdir() if "part" in one.name] == []


@pytest.mark.parametrize(
    ("names", "placed_as"),
    [
        (("a.png", "a.png", "A.png"), ["a.png", "a-2.png", "A-3.png"]),
        (("../../etc/passwd",), ["passwd"]),
        (("..",), ["file"]),
        ((".",), ["file"]),
        (("",), ["file"]),
        (("a\0b/",), ["file"]),
        ((".bashrc",), [".bashrc"]),
        (("名" * 200 + ".xlsx",), ["名" * 65 + ".xlsx"]),
    ],
)
def test_no_name_leaves_its_folder(
    given: Given, names: tuple[str, ...], placed_as: list[str]
) -> None:
    paths = given.placed(*map(given.file, names))
    assert [os.path.relpath(path, ".larkd/attachments/om_1") for path in paths] == placed_as


def test_a_picture_without_a_name_is_named_by_what_it_is(given: Given) -> None:
    pictures = [
        given.file("img_v3_1", PNG, "image"),
        given.file("img_v3_2", b"unknown", "image"),
        given.file("photo.jpeg", PNG, "image"),
    ]
    names = [Path(path).name for path in given.placed(*pictures)]
    assert names == ["img_v3_1.png", "img_v3_2", "photo.jpeg"]


def test_again_is_the_same(given: Given) -> None:
    file = given.file("a.txt")
    assert given.placed(file) == given.placed(file)


def test_git_ignores_all_of_it(given: Given) -> None:
    subprocess.run(["git", "init", "-q"], cwd=given.cwd, check=True)
    given.placed(given.file("a.txt"))
    status = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=given.cwd,
        check=True,
        capture_output=True,
    )
    assert status.stdout == b""


@pytest.mark.parametrize("part", [".larkd", ".larkd/attachments", ".larkd/attachments/om_1"])
def test_a_link_to_elsewhere_is_not_followed(
    given: Given, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = given.cwd.parent / "elsewhere"
    elsewhere.mkdir()
    (given.cwd / part).parent.mkdir(parents=True, exist_ok=True)
    (given.cwd / part).symlink_to(elsewhere)
    file = given.file("a.txt")
    deliver = given.deliver(file)
    assert placed(deliver, os.fspath(given.cwd)) == deliver
    assert list(elsewhere.iterdir()) == []
    assert "attachments stay outside of" in capsys.readouterr().err


def test_a_link_in_the_place_of_a_file_is_replaced(given: Given) -> None:
    target = given.cwd.parent / "target"
    target.write_text("mine")
    folder = given.cwd / ".larkd" / "attachments" / "om_1"
    folder.mkdir(parents=True)
    (folder / "a.txt").symlink_to(target)
    (path,) = given.placed(given.file("a.txt", b"theirs"))
    assert (given.cwd / path).read_bytes() == b"theirs"
    assert target.read_text() == "mine"


def test_what_is_old_goes(given: Given) -> None:
    given.placed(given.file("a.txt"), message_id="om_old")
    given.placed(given.file("b.txt"), message_id="om_new")
    old = given.cwd / ".larkd" / "attachments" / "om_old"
    at_s = old.stat().st_mtime - KEPT_S - 1
    os.utime(old, (at_s, at_s))
    given.placed(given.file("c.txt"), message_id="om_3")
    assert sorted(path.name for path in old.parent.iterdir()) == ["om_3", "om_new"]


def test_what_was_fetched_from_afar_is_moved(given: Given) -> None:
    folder = given.cwd / ".larkd" / "attachments" / "evt-1"
    folder.mkdir(parents=True)
    fetched = folder / "1-report.pdf"
    fetched.write_bytes(b"pdf")
    one = Attachment(kind="file", name="report.pdf", file_key="k", path=os.fspath(fetched))
    assert given.placed(one) == [".larkd/attachments/om_1/report.pdf"]
    assert not fetched.exists()


def test_what_is_not_on_this_machine_is_named(given: Given) -> None:
    gone = Attachment(kind="file", name="a.txt", file_key="k", path="/nowhere/a.txt")
    deliver = placed(given.deliver(gone, given.file("b.txt")), os.fspath(given.cwd))
    assert deliver.attachments[0].path is None
    assert deliver.content == "look\n\n[file a.txt: it is not on this machine]"
    assert deliver.attachments[1].path is not None


def test_a_directory_that_takes_nothing_changes_nothing(
    given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    (given.cwd / ".larkd").write_text("a file")
    deliver = given.deliver(given.file("a.txt"))
    assert placed(deliver, os.fspath(given.cwd)) == deliver
    assert "Not a directory" in capsys.readouterr().err


def test_an_odd_message_id_names_no_folder(given: Given) -> None:
    assert given.placed(given.file("a.txt"), message_id="../x") == [
        ".larkd/attachments/evt-1/a.txt"
    ]
