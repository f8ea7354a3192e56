"""A message and what it carries, as the content blocks of a prompt."""

from __future__ import annotations

from protocol.agents.acp_prompt import Carried, Embedded, prompt
from protocol.wire import messages as wire


def deliver(content: str = "look") -> wire.Deliver:
    return wire.Deliver(
        event_id="e", turn_id="t", attempt=1, lease_epoch=1, chat_id="oc", content=content, meta={}
    )


def carried(name: str, embedded: Embedded | None = None, size: int | None = None) -> Carried:
    kind = "image" if embedded is not None and embedded.kind == "image" else "file"
    return Carried(
        attachment=wire.Attachment(kind=kind, name=name, file_key="k", size=size),  # type: ignore[arg-type]
        uri=f"file:///w/.larkd/{name}",
        shown_path=f".larkd/{name}",
        embedded=embedded,
    )


def test_a_text_alone_is_one_block() -> None:
    assert prompt(deliver(), []) == [{"type": "text", "text": "look"}]


def test_a_file_is_linked_with_its_size_where_that_is_known() -> None:
    text, known, unknown = prompt(deliver(), [carried("a.pdf", size=0), carried("b.pdf")])
    assert text == {"type": "text", "text": "look\n"}
    assert known == {
        "type": "resource_link",
        "name": "a.pdf",
        "uri": "file:///w/.larkd/a.pdf",
        "size": 0,
    }
    assert unknown == {"type": "resource_link", "name": "b.pdf", "uri": "file:///w/.larkd/b.pdf"}


def test_a_picture_is_embedded_and_its_path_named() -> None:
    embedded = Embedded(kind="image", mime_type="image/png", data="aGk=")
    assert prompt(deliver(), [carried("a.png", embedded)]) == [
        {"type": "text", "text": "look\n[image saved as .larkd/a.png]\n"},
        {"type": "image", "mimeType": "image/png", "data": "aGk="},
    ]


def test_sound_is_embedded_as_sound() -> None:
    embedded = Embedded(kind="audio", mime_type="audio/ogg", data="aGk=")
    _, block = prompt(deliver(), [carried("a.ogg", embedded)])
    assert block == {"type": "audio", "mimeType": "audio/ogg", "data": "aGk="}


def test_a_text_file_is_embedded_as_a_resource_and_not_named_twice() -> None:
    embedded = Embedded(kind="text", mime_type="text/plain", data="inside")
    assert prompt(deliver(), [carried("a.txt", embedded)]) == [
        {"type": "text", "text": "look\n"},
        {
            "type": "resource",
            "resource": {
                "uri": "file:///w/.larkd/a.txt",
                "mimeType": "text/plain",
                "text": "inside",
            },
        },
    ]
