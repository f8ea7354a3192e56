"""What larkd writes into a chat about agents, their options and their conversations."""

from __future__ import annotations

from typing import Final

from protocol.strings.text import Text

AGENT_UNKNOWN: Final = Text(
    "No agent {agent} is configured. Known: {known}.",
    "没有配置名为 {agent} 的 agent，可用：{known}。",
)
AGENTS_FULL: Final = Text(
    "{count} agents run already; close one first.", "已有 {count} 个 agent 在运行，请先关闭一个。"
)
AGENT_NO_DIRECTORY: Final = Text("{cwd} is no directory.", "{cwd} 不是目录。")
AGENT_STARTED: Final = Text("Started {alias}.", "已启动 {alias}。")
AGENT_STARTING: Final = Text(
    "⏳ {agent} is starting ({seconds} s)…", "⏳ {agent} 正在启动（{seconds} 秒）…"
)
AGENT_ENVIRONMENT: Final = Text(
    "\nThe daemon's environment has no {names}, which the configuration names for it.",
    "\n守护进程的环境中没有配置要求的 {names}。",
)
AGENT_NOT_BACK: Final = Text("{alias} did not come back: {why}", "{alias} 未能恢复：{why}")
NOT_CONFIGURED: Final = Text(
    "no agent {agent} is configured any more.", "已没有名为 {agent} 的 agent 配置。"
)
AGENT_GIVEN_UP: Final = Text(
    "{alias} ended {count} times in a row and is not started again. /close it, or look into"
    " larkd.log.",
    "{alias} 连续退出 {count} 次，不再自动启动。可用 /close 关闭它，或查看 larkd.log。",
)
AGENTS_OF_TOPICS: Final = Text(
    "{count} agents of topics run already; an admin can close one.",
    "已有 {count} 个话题 agent 在运行，管理员可以关闭一个。",
)
AGENT_FAILED: Final = Text("{alias} did not start: {why}", "{alias} 未能启动：{why}")
AGENT_LATE: Final = Text(
    "{alias} was not ready within {seconds} s.", "{alias} 在 {seconds} 秒内未就绪。"
)
AGENT_NOT_STARTED: Final = Text("It could not be started, please try again.", "未能启动，请重试。")
AGENT_CLOSED: Final = Text("Closed {alias}.", "已关闭 {alias}。")
AGENT_NOT_OURS: Final = Text(
    "{alias} was not started from a chat; end it where it runs.",
    "{alias} 不是从聊天中启动的，请在其运行处结束它。",
)
AGENT_NOT_ALLOWED: Final = Text(
    "Only an admin can start or close agents.", "只有管理员可以启动或关闭 agent。"
)
AGENT_OUTSIDE: Final = Text(
    "{cwd} lies outside of the directories where {agent} may be started.",
    "{cwd} 不在允许启动 {agent} 的目录内。",
)
AGENTS_OF_PERSON: Final = Text(
    "You have {count} agents running already; close one first.",
    "你已有 {count} 个 agent 在运行，请先关闭一个。",
)
OPTION_MODE: Final = Text("Mode: {value}", "模式：{value}")
OPTION_MODEL: Final = Text("Model: {value}", "模型：{value}")
OPTION_EFFORT: Final = Text("Effort: {value}", "推理强度：{value}")
NO_MODES: Final = Text("{alias} offers no modes.", "{alias} 没有可选的模式。")
NO_MODELS: Final = Text("{alias} offers no models.", "{alias} 没有可选的模型。")
NO_EFFORTS: Final = Text("{alias} offers no effort levels.", "{alias} 没有可选的推理强度。")
CHOICE_UNKNOWN: Final = Text(
    'There is no choice "{word}". Send the command alone to see all.',
    "没有「{word}」这个选项，单独发送该命令可查看全部。",
)
MORE_CHOICES: Final = Text(
    "{count} more: send {command} and a name.", "还有 {count} 项：发送 {command} 加名称。"
)
CHOICE_UNDER_WAY: Final = Text("It is being set…", "正在设置…")
CHOICE_NOT_ALLOWED: Final = Text("Only an admin can choose that.", "只有管理员可以选择它。")
CHOICE_FAILED: Final = Text("That was not chosen: {reason}", "未能选择：{reason}")
AGENT_COMMANDS: Final = Text("Commands of {alias}:", "{alias} 的命令：")
NO_AGENT_COMMANDS: Final = Text("{alias} offers no commands.", "{alias} 没有自己的命令。")
CONVERSATION_RESTORED: Final = Text(
    "{alias} was started again; the conversation goes on.", "{alias} 已重新启动，对话继续。"
)
CONVERSATION_LOST: Final = Text(
    "{alias} was started again, but its conversation could not be loaded ({reason});"
    " it begins anew.",
    "{alias} 已重新启动，但无法恢复之前的对话（{reason}），将重新开始。",
)
CONVERSATIONS: Final = Text(
    "Earlier conversations of {alias} in {cwd}:", "{alias} 在 {cwd} 的历史对话："
)
CONVERSATIONS_HOW: Final = Text(
    "\nSend /resume and a number to go on with one.", "\n发送 /resume 加序号即可继续。"
)
NO_CONVERSATIONS: Final = Text(
    "{alias} has no earlier conversations here.", "{alias} 在此没有历史对话。"
)
NO_CONVERSATION: Final = Text(
    "There is no conversation {number}. Send /resume to see all.",
    "没有第 {number} 个对话。发 /resume 查看全部。",
)
CONVERSATIONS_NOT_KEPT: Final = Text(
    "{alias} can't resume earlier conversations.", "{alias} 不支持恢复历史对话。"
)
SESSION_AWAY: Final = Text("{alias} is offline; start it first.", "{alias} 已离线，请先启动它。")
RESUMED: Final = Text("Resumed: {title}", "已恢复：{title}")
RESUME_FAILED: Final = Text("That was not resumed: {reason}", "未能恢复：{reason}")
RESUME_USAGE: Final = Text("Usage: /resume, or /resume <n>", "用法：/resume 或 /resume <序号>")
RESUME_NOT_ALLOWED: Final = Text(
    "Only who started it, or an admin, can resume its conversations.",
    "只有启动者或管理员可以恢复其对话。",
)
NEW_USAGE: Final = Text(
    "Usage: /new <agent> [alias] [directory]. Agents: {known}.",
    "用法：/new <agent> [别名] [目录]。可用 agent：{known}。",
)
