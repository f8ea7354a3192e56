"""Everything the daemon writes to people, in both languages: by where it is read.

A :class:`Text` is both forms of one piece, since the readers of one chat may differ.
"""

from protocol.strings.text import Language, Text

__all__ = ["Language", "Text"]
