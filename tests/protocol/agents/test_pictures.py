"""A picture is what its first bytes are."""

from __future__ import annotations

import pytest

from protocol.agents.pictures import SUFFIXES, mime_type_of


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\0\x01\0", "image/gif"),
        (b"GIF87a\x01\0\x01\0", "image/gif"),
        (b"BM\x46\0\0\0\0\0\0\0\0\0", "image/bmp"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_what_it_begins_with(data: bytes, mime_type: str) -> None:
    assert mime_type_of(data) == mime_type
    assert SUFFIXES[mime_type].startswith(".")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\n",
        b"\xff\xd8\xfe\xe0",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"RIFX\x24\0\0\0WEBPVP8 ",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
    ],
)
def test_what_is_no_picture(data: bytes) -> None:
    assert mime_type_of(data) is None
