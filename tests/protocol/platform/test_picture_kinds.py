"""What a picture is by its first bytes."""

from __future__ import annotations

import pytest

from protocol.platform.picture_kinds import HEAD_BYTES, picture_kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(8), "png"),
        (b"\xff\xd8\xff\xe0" + bytes(12), "jpeg"),
        (b"GIF87a" + bytes(10), "gif"),
        (b"GIF89a" + bytes(10), "gif"),
        (b"RIFF" + bytes(4) + b"WEBPVP8 ", "webp"),
        (b"BM" + bytes(14), "bmp"),
        (bytes(3) + b"\x18ftypheic" + bytes(4), "heic"),
        *((bytes(4) + b"ftyp" + brand, "heic") for brand in (b"heix", b"mif1", b"msf1", b"hevc")),
        (bytes(4) + b"ftypavif", None),
        (bytes(4) + b"moovheic", None),
        (b"II*\x00" + bytes(12), "tiff"),
        (b"MM\x00*" + bytes(12), "tiff"),
        (b"\x00\x00\x01\x00" + bytes(12), "ico"),
        (b"RIFF" + bytes(4) + b"WAVEfmt ", None),
        (b"XXXX" + bytes(4) + b"WEBPVP8 ", None),
        (b"%PDF-1.7" + bytes(8), None),
        (b"\x1f\x8b\x08" + bytes(13), None),
        (b"", None),
    ],
)
def test_a_picture_is_what_its_first_bytes_are(head: bytes, kind: str | None) -> None:
    assert picture_kind(head) == kind
    assert picture_kind(bytearray(head + bytes(HEAD_BYTES))) == kind
