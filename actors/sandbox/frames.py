"""Frames of the long connection: the platform's protobuf message, as its own client has it.

The schema is that of lark-oapi's ``ws/pb/pbbp2.proto``, and a test holds it against that.
lark-oapi itself would bring ten thousand modules for this one.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

CONTROL: Final = 0
DATA: Final = 1

SCHEMA: Final = """
name: "sandbox/pbbp2.proto"
package: "pbbp2"
message_type {
  name: "Header"
  field { name: "key" number: 1 label: LABEL_REQUIRED type: TYPE_STRING }
  field { name: "value" number: 2 label: LABEL_REQUIRED type: TYPE_STRING }
}
message_type {
  name: "Frame"
  field { name: "SeqID" number: 1 label: LABEL_REQUIRED type: TYPE_UINT64 }
  field { name: "LogID" number: 2 label: LABEL_REQUIRED type: TYPE_UINT64 }
  field { name: "service" number: 3 label: LABEL_REQUIRED type: TYPE_INT32 }
  field { name: "method" number: 4 label: LABEL_REQUIRED type: TYPE_INT32 }
  field {
    name: "headers" number: 5 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".pbbp2.Header"
  }
  field { name: "payload_encoding" number: 6 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "payload_type" number: 7 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "payload" number: 8 label: LABEL_OPTIONAL type: TYPE_BYTES }
  field { name: "LogIDNew" number: 9 label: LABEL_OPTIONAL type: TYPE_STRING }
}
"""


class Frame(msgspec.Struct, kw_only=True):
    seq_id: int = 0
    log_id: int = 0
    service: int = 0
    method: int = CONTROL
    headers: dict[str, str] = {}
    payload: bytes = b""


class NotAFrame(Exception):
    """The bytes are no frame."""


def schema() -> descriptor_pb2.FileDescriptorProto:
    """Return the schema as protobuf has it."""
    return text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto())


def encode(frame: Frame) -> bytes:
    message = _Message(
        SeqID=frame.seq_id,
        LogID=frame.log_id,
        service=frame.service,
        method=frame.method,
        payload=frame.payload,
    )
    for key, value in frame.headers.items():
        message.headers.add(key=key, value=value)
    encoded: bytes = message.SerializeToString()
    return encoded


def decode(data: bytes) -> Frame:
    """Read one frame.

    Raises:
        NotAFrame: not a frame, without a required field, or with text that is not UTF-8.
    """
    try:
        message = _Message.FromString(data)
    except DecodeError as wrong:
        raise NotAFrame(str(wrong)) from wrong
    if not message.IsInitialized():
        raise NotAFrame("a required field is missing")
    headers = {header.key: header.value for header in message.headers}
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise NotAFrame("a header is not UTF-8")  # the compiled runtime gives it as bytes
    return Frame(
        seq_id=message.SeqID,
        log_id=message.LogID,
        service=message.service,
        method=message.method,
        headers=headers,
        payload=message.payload,
    )


def _message_class() -> Any:
    # A pool of its own: a process that has the client too has two of these messages.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pbbp2.Frame"))


_Message: Final = _message_class()
