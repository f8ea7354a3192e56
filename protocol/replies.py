"""What the daemon itself says in a chat, in both languages."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Language = Literal["en", "zh"]


class Text(Struct, frozen=True):
    """One sentence for people; both forms, since a reader's language may differ."""

    en: str
    zh: str

    def speak(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


STOPPED_TASK: Final = Text("Stopped current task.", "已停止当前任务。")
NOTHING_RUNNING: Final = Text("Nothing is running.", "当前没有正在执行的任务。")
NO_SESSION: Final = Text(
    "No session is connected. Your message is kept and will be delivered.",
    "当前没有已连接的会话，消息已保留，连接后会送达。",
)
TOAST_STOPPED: Final = Text("Stopped", "已停止")
TOAST_NOT_ALLOWED: Final = Text(
    "Only who started this task, or an admin, can stop it.", "只有任务发起人或管理员可以停止它。"
)
TOAST_UNKNOWN: Final = Text("This button no longer does anything.", "此按钮已失效。")
