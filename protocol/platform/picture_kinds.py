"""What a picture is, by its first bytes: nobody's word is taken for it, nothing is decoded."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 16
"""So many first bytes decide."""
_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
)
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"hevc"})


def picture_kind(head: bytes | bytearray) -> str | None:
    """Return the kind of a picture the platform takes; None for anything else."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and bytes(head[8:12]) in _HEIF_BRANDS:
        return "heic"
    return None
