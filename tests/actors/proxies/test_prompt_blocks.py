"""What a prompt holds, by what the agent announced it takes."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from actors.proxies.prompt_blocks import EMBEDDED_BYTES_MAX, TEXT_BYTES_MAX, prompt_blocks
from protocol.agents.acp import Abilities, read_abilities
from protocol.wire.messages import Attachment, Deliver

PNG = b"\x89PNG\r\n\x1a\n and more"
ALL = Abilities(images=True, sounds=True, embedded_context=True)


def deliver(tmp_path: Path, **files: bytes) -> Deliver:
    """Return a message with files: ``image_a``, ``audio_b``, ``file_c`` …"""
    attachments = []
    for key, data in files.items():
        kind, _, name = key.partition("_")
        path = tmp_path / f"own-{key}"
        path.write_bytes(data)
        attachments.append(
            Attachment(
                kind=kind,  # type: ignore[arg-type]  # the test's own words
                name=name.replace("_", "."),
                file_key=key,
                path=os.fspath(path),
                size=len(data),
            )
        )
    return Deliver(
        event_id="evt",
        turn_id="turn",
        attempt=1,
        lease_epoch=1,
        chat_id="oc_1",
        content="look",
        meta={"message_id": "om_1"},
        attachments=attachments,
    )


async def test_what_the_agent_takes_is_in_the_prompt(tmp_path: Path) -> None:
    message = deliver(
        tmp_path, image_a_png=PNG, audio_v_opus=b"sound", file_notes_md=b"# hi\n", file_x_bin=b"\0"
    )
    text, image, audio, resource, link = await prompt_blocks(message, os.fspath(tmp_path), ALL)
    where = ".larkd/attachments/om_1"
    assert text == {
        "type": "text",
        "text": f"look\n[image saved as {where}/a.png]\n[audio saved as {where}/v.opus]\n",
    }
    assert image == {
        "type": "image",
        "mimeType": "image/png",
        "data": base64.b64encode(PNG).decode(),
    }
    assert (audio["type"], base64.b64decode(audio["data"])) == ("audio", b"sound")
    assert resource == {
        "type": "resource",
        "resource": {
            "uri": (tmp_path / where / "notes.md").as_uri(),
            "mimeType": "text/markdown",
            "text": "# hi\n",
        },
    }
    assert link == {
        "type": "resource_link",
        "name": "x.bin",
        "uri": (tmp_path / where / "x.bin").as_uri(),
        "size": 1,
    }


async def test_what_it_does_not_take_is_linked_inside_its_directory(tmp_path: Path) -> None:
    message = deliver(tmp_path, image_a_png=PNG, audio_v_opus=b"sound", file_notes_md=b"# hi\n")
    text, *links = await prompt_blocks(message, os.fspath(tmp_path), Abilities())
    assert text == {"type": "text", "text": "look\n"}
    assert [link["type"] for link in links] == ["resource_link"] * 3
    paths = [Path(link["uri"].removeprefix("file://")) for link in links]
    assert [path.name for path in paths] == ["a.png", "v.opus", "notes.md"]
    assert all(path.is_relative_to(tmp_path) and path.exists() for path in paths)


@pytest.mark.parametrize(
    "files",
    [
        {"image_a_png": PNG + bytes(EMBEDDED_BYTES_MAX)},
        {"file_a_txt": b"x" * (TEXT_BYTES_MAX + 1)},
        {"file_a_txt": b"\xff\xfe"},
        {"file_a_txt": b""},
    ],
)
async def test_what_is_too_large_or_no_text_is_linked(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    _, block = await prompt_blocks(deliver(tmp_path, **files), os.fspath(tmp_path), ALL)
    assert block["type"] == "resource_link"


def test_what_an_agent_offers_to_take() -> None:
    capabilities = {"promptCapabilities": {"image": True, "audio": 1, "embeddedContext": True}}
    abilities = read_abilities({"agentCapabilities": capabilities})
    assert (abilities.images, abilities.sounds, abilities.embedded_context) == (True, False, True)
