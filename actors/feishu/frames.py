"""Frames of the long connection as bytes: the platform's protobuf message, compiled.

The message is that of lark-oapi's own client (``ws/pb/pbbp2.proto``); the tests hold it
against lark-oapi byte for byte. lark-oapi itself brings its message with a protobuf
runtime in pure Python, which costs a frame ten times as much and the start 0.2 s.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.platform.longconn import Frame

_Field: Final = descriptor_pb2.FieldDescriptorProto
_HEADER: Final = (
    ("key", _Field.TYPE_STRING, _Field.LABEL_REQUIRED),
    ("value", _Field.TYPE_STRING, _Field.LABEL_REQUIRED),
)
_FRAME: Final = (
    ("SeqID", _Field.TYPE_UINT64, _Field.LABEL_REQUIRED),
    ("LogID", _Field.TYPE_UINT64, _Field.LABEL_REQUIRED),
    ("service", _Field.TYPE_INT32, _Field.LABEL_REQUIRED),
    ("method", _Field.TYPE_INT32, _Field.LABEL_REQUIRED),
    ("headers", _Field.TYPE_MESSAGE, _Field.LABEL_REPEATED),
    ("payload_encoding", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    ("payload_type", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
    ("payload", _Field.TYPE_BYTES, _Field.LABEL_OPTIONAL),
    ("LogIDNew", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
)
"""Name, type and label of each field; their numbers count from 1."""


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="larkd/pbbp2.proto", package="pbbp2")
    for name, fields in (("Header", _HEADER), ("Frame", _FRAME)):
        message = file.message_type.add(name=name)
        for number, (field, kind, label) in enumerate(fields, start=1):
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if kind == _Field.TYPE_MESSAGE:
                added.type_name = ".pbbp2.Header"
    # A pool of its own: a process that loads lark-oapi too has two of these messages.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("pbbp2.Frame"))


_Message: Final = _message_class()


def encode_frame(frame: Frame) -> bytes:
    """Return *frame* as the bytes of one binary WebSocket message.

    Raises:
        LocalProtocolError: a field does not fit the platform's frame format.
    """
    try:
        # The four required scalars are set also when 0: proto2 wants them present.
        # What is None stays unset.
        message = _Message(
            SeqID=frame.seq_id,
            LogID=frame.log_id,
            service=frame.service,
            method=frame.method,
            payload_encoding=frame.payload_encoding,
            payload_type=frame.payload_type,
            payload=frame.payload,
            LogIDNew=frame.log_id_new,
        )
        for key, value in frame.headers:
            message.headers.add(key=key, value=value)
        encoded: bytes = message.SerializeToString()
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"frame cannot be encoded: {error}") from error
    return encoded


def decode_frame(data: bytes) -> Frame:
    """Read the bytes of one binary WebSocket message.

    Raises:
        RemoteProtocolError: not a frame, or one without its required fields.
    """
    try:
        message = _Message.FromString(data)
        if not message.IsInitialized():
            missing = ", ".join(message.FindInitializationErrors())
            raise RemoteProtocolError(f"a frame without {missing}")
        has = message.HasField
        headers = tuple((_text(each.key), _text(each.value)) for each in message.headers)
        return Frame(
            seq_id=message.SeqID,
            log_id=message.LogID,
            service=message.service,
            method=message.method,
            headers=headers,
            payload_encoding=_text(message.payload_encoding) if has("payload_encoding") else None,
            payload_type=_text(message.payload_type) if has("payload_type") else None,
            payload=message.payload if has("payload") else None,
            log_id_new=_text(message.LogIDNew) if has("LogIDNew") else None,
        )
    except DecodeError as error:
        raise RemoteProtocolError("not a frame") from error


def _text(value: str | bytes) -> str:
    """The compiled runtime gives a text that is not UTF-8 as its bytes."""
    if isinstance(value, bytes):
        raise RemoteProtocolError("a frame with text that is not UTF-8")
    return value
