"""What larkd writes into a chat about messages, sessions, the queue and pairing."""

from __future__ import annotations

from typing import Final

from protocol.strings.text import Text

STOPPED_TASK: Final = Text("Stopped current task.", "已停止当前任务。")
NOTHING_RUNNING: Final = Text("Nothing is running.", "当前没有正在执行的任务。")
NOT_ALLOWED_TO_STOP: Final = Text(
    "Only who started it, or an admin, can stop this.", "只有发起者或管理员可以停止。"
)
NO_SESSION: Final = Text(
    "No session is connected. Your message is kept and will be delivered.",
    "当前没有已连接的会话，消息已保留，连接后会送达。",
)
NO_SESSION_START_ONE: Final = Text(
    "\nAn admin can start one: /new {agent}", "\n管理员可以启动一个：/new {agent}"
)
NOT_FOR_STRANGERS: Final = Text(
    "Commands are for people who are paired with this bot.", "只有已配对的人可以使用命令。"
)
GRANT_NEEDED: Final = Text(
    "This bot lacks a permission to show live cards. An admin can grant it here: {url}",
    "机器人缺少显示实时卡片所需的权限，管理员可在此开通：{url}",
)
LANE_FULL: Final = Text(
    "Session {alias} already has {count} messages waiting.",
    "会话 {alias} 已有 {count} 条消息在等待。",
)
STOPPED_NAMED: Final = Text("Stopped {alias}.", "已停止 {alias}。")
SESSIONS: Final = Text("Sessions:", "会话列表：")
NO_SESSIONS: Final = Text("No sessions yet.", "还没有会话。")
SESSION_OFFLINE: Final = Text(" (offline)", "（离线）")
SESSION_CURRENT: Final = Text(" [current]", " [当前]")
SESSION_UNKNOWN: Final = Text(
    'No session matching "{query}". Send /sessions to see all.',
    "没有匹配「{query}」的会话。发 /sessions 看看有哪些。",
)
SESSION_AMBIGUOUS: Final = Text(
    '"{query}" matches multiple sessions, please specify:', "「{query}」匹配到多个会话，请指定："
)
SWITCHED: Final = Text(
    "Switched to {alias} (previous: {previous})", "已切到 {alias}（上一个：{previous}）"
)
STILL_RUNNING: Final = Text("\n⏳ {alias} is still running…", "\n⏳ {alias} 仍在执行中…")
NOBODY: Final = Text("none", "无")
USE_USAGE: Final = Text(
    "Usage: /use <alias>, or /use - to go back to the channel's owner. /sessions lists them.",
    "用法：/use <别名>，或 /use - 回到频道所有者。发 /sessions 查看会话。",
)
NOT_STORED: Final = Text(
    "That could not be stored, so nothing has changed. Please try again.",
    "未能保存，未作任何更改，请重试。",
)
COMMAND_INTERRUPTED: Final = Text(
    "A restart interrupted this; it may have taken effect. Please look, and send it again if not.",
    "重启中断了此命令，可能已生效；请查看，未生效请重发。",
)
REPLY_MODE: Final = Text("Current reply mode: {mode}", "当前 reply mode：{mode}")
REPLY_MODE_SET: Final = Text("Reply mode set to: {mode}", "已设置 reply mode：{mode}")
REPLY_MODE_USAGE: Final = Text(
    "Usage: /replymode stream, final, verbose or reset",
    "用法：/replymode stream、final、verbose 或 reset",
)
NO_CURRENT_SESSION: Final = Text(
    "This chat is on no session yet. Send /sessions to see all.",
    "当前聊天还没有会话。发 /sessions 看看有哪些。",
)
STATUS_CHAT: Final = Text("This chat: {alias}", "本聊天：{alias}")
STATUS_BOUND: Final = Text(" (chosen by /use)", "（由 /use 指定）")
STATUS_OWNER: Final = Text("\nChannel owner: {alias}", "\n频道所有者：{alias}")
STATUS_EPOCH: Final = Text("\nLease epoch: {epoch}", "\n租约 epoch：{epoch}")
STATUS_QUEUE: Final = Text(
    "\nQueue: {pending} waiting, {in_flight} on their way",
    "\n队列：{pending} 条等待，{in_flight} 条投递中",
)
QUEUE: Final = Text("Waiting for {alias} ({count}):", "{alias} 的等待队列（{count}）：")
QUEUE_EMPTY: Final = Text("Nothing is waiting.", "队列为空。")
QUEUE_OTHER_CHAT: Final = Text("(in another chat)", "（来自其他聊天）")
QUEUE_DROPPED: Final = Text("Dropped from the queue: {content}", "已移出队列：{content}")
QUEUE_CLEARED: Final = Text("Dropped {count} from the queue.", "已移出 {count} 条。")
QUEUE_NO_SUCH: Final = Text(
    "There is no number {number} in the queue. Send /queue to see it.",
    "队列中没有第 {number} 条。发 /queue 查看。",
)
QUEUE_NOT_YOURS: Final = Text(
    "Only who sent a message, or an admin, can take it out of the queue.",
    "只有发送者或管理员可以移出该消息。",
)
QUEUE_USAGE: Final = Text(
    "Usage: /queue, /queue drop <n>, or /queue clear",
    "用法：/queue、/queue drop <序号> 或 /queue clear",
)
DOCTOR_NOT_ALLOWED: Final = Text("Only an admin can ask for this.", "只有管理员可以查看。")
DOCTOR_FINE: Final = Text("✅ Everything is in order.", "✅ 一切正常。")
DOCTOR_NOBODY: Final = Text(
    "⚠️ No session gets the messages of this chat: start one, or choose one with /use.",
    "⚠️ 没有会话接收本聊天的消息：请启动一个，或用 /use 选择。",
)
DOCTOR_AWAY: Final = Text(
    "⚠️ {alias}, which this chat is on, is away: start it again, or choose another with /use.",
    "⚠️ 本聊天所在的 {alias} 已离线：请重新启动它，或用 /use 选择其他会话。",
)
DOCTOR_QUEUE: Final = Text(
    "⚠️ {pending} messages wait, the oldest for {age}: start the session they are for.",
    "⚠️ {pending} 条消息在等待，最久的已等 {age}：请启动它们所属的会话。",
)
DOCTOR_JOURNAL: Final = Text(
    "❌ The journal could not store something ({reason}): free space on its disk.",
    "❌ 日志库写入失败（{reason}）：请清理磁盘空间。",
)
DOCTOR_SCOPES: Final = Text(
    "❌ The app lacks {scopes}. Grant it here, and publish a version: {url}",
    "❌ 应用缺少权限 {scopes}。请在这里开通并发布版本：{url}",
)
DOCTOR_CALLS: Final = Text(
    "⚠️ The last call to the platform that failed: {reason}",
    "⚠️ 最近一次失败的平台调用：{reason}",
)
DOCTOR_GATEWAY: Final = Text(
    "❌ The gateway to the platform does not answer: look into larkd.log.",
    "❌ 平台网关没有响应：请查看 larkd.log。",
)
DOCTOR_MORE: Final = Text(
    "\nMore, on the machine: larkd doctor", "\n更多检查，请在机器上运行：larkd doctor"
)
HELP: Final = Text(
    "/sessions – the sessions you can talk to\n"
    "/use <alias> – send what you write here to that session; /use - for the channel's owner\n"
    "/cancel [alias] – stop the current task; so do words like stop\n"
    "/queue – what waits; /queue drop <n>, /queue clear\n"
    "/replymode [stream|final|verbose|reset] – how much of a task is shown while it runs\n"
    "/new <agent> [alias] [directory] – start an agent; /close [alias] – end it\n"
    "/resume [n] – earlier conversations of its agent; go on with one\n"
    "/mode, /model, /effort [choice] – how its agent works; /commands – its own commands\n"
    "//x – send /x to the session, also where it is a command of this list\n"
    "/why – what became of the message you quote, or of the last one\n"
    "/status – who hears this chat; /doctor – what is wrong, for admins\n"
    "/help – this list",
    "/sessions – 可以对话的会话\n"
    "/use <别名> – 把本聊天切到该会话；/use - 回到频道所有者\n"
    "/cancel [别名] – 停止当前任务，发送“停止”也可以\n"
    "/queue – 等待中的消息；/queue drop <序号>、/queue clear\n"
    "/replymode [stream|final|verbose|reset] – 任务执行时显示多少内容\n"
    "/new <agent> [别名] [目录] – 启动 agent；/close [别名] – 结束它\n"
    "/resume [序号] – 其 agent 的历史对话，可继续其中一个\n"
    "/mode、/model、/effort [选项] – agent 的工作方式；/commands – 它自己的命令\n"
    "//x – 把 /x 发给会话，即使本列表中有同名命令\n"
    "/why – 所引用的消息（或上一条消息）的处理情况\n"
    "/status – 谁在听本聊天；/doctor – 管理员查看哪里有问题\n"
    "/help – 本列表",
)
WHY_RECEIVED: Final = Text("received", "已收到")
WHY_NOT_READY: Final = Text(
    "; not ready yet: what it carries is being fetched, or a command before it runs",
    "；尚未就绪：正在获取附件，或之前的命令还在执行",
)
WHY_WAITING: Final = Text("waiting for {alias}", "正在等待 {alias}")
WHY_WAITING_FOR_NOBODY: Final = Text("waiting for a session", "正在等待会话")
WHY_AHEAD: Final = Text("; messages before it: {count}", "；排在前面的消息：{count}")
WHY_UNDER_WAY: Final = Text("; given and not answered yet: {count}", "；已送达但未回答：{count}")
WHY_OFFERED: Final = Text("offered to {alias}", "已发给 {alias}")
WHY_OFFERED_AGAIN: Final = Text(
    "offered to {alias} (attempt {count})", "已发给 {alias}（第 {count} 次）"
)
WHY_SEEN: Final = Text("seen by {alias}", "{alias} 已收到")
WHY_NOT_ANSWERED: Final = Text("; not answered yet", "；尚未回答")
WHY_ANSWERED: Final = Text("answered by {alias}", "{alias} 已回答")
WHY_REFUSED: Final = Text("refused: {reason}", "已拒绝：{reason}")
WHY_DROPPED: Final = Text("dropped: {reason}", "已移除：{reason}")
WHY_COMMAND: Final = Text("carried out as a command: {what}", "已作为命令执行：{what}")
WHY_DAMAGED: Final = Text("set aside: it could not be read", "已搁置：无法读取")
WHY_NOT_READ: Final = Text(
    "The journal did not answer; ask again in a moment.", "日志库没有响应，请稍后再试。"
)
WHY_UNKNOWN: Final = Text(
    "Nothing is known of that message: it never arrived, or is older than 30 days.",
    "没有这条消息的记录：它没有到达，或已超过 30 天。",
)
BACKGROUND_DONE: Final = Text("✅ {alias} done", "✅ {alias} 已完成")
BACKGROUND_FAILED: Final = Text("⚠️ {alias} failed", "⚠️ {alias} 失败")
PAIRING_DIRECT: Final = Text(
    "I don't know you yet. Your pairing code is {code}. Whoever runs this bot can let you in"
    " within the hour: larkd pair approve {code}",
    "我还不认识你，你的配对码是 {code}。机器人的管理员可在一小时内执行：larkd pair approve {code}",
)
PAIRING_GROUP: Final = Text(
    "This group is not paired with me yet. Its pairing code is {code}. Whoever runs this bot can"
    " let it in within the hour: larkd pair approve {code}",
    "此群还没有与我配对，配对码是 {code}。机器人的管理员可在一小时内执行："
    "larkd pair approve {code}",
)
PAIRED_DIRECT: Final = Text(
    "You are paired. Send a message to begin.", "配对成功，发一条消息就可以开始了。"
)
PAIRED_GROUP: Final = Text(
    "This group is paired. Mention me to begin.", "本群配对成功，@我 就可以开始了。"
)
PAIR_APPROVED: Final = Text("Paired {subject}.", "已配对 {subject}。")
PAIR_UNKNOWN: Final = Text(
    "No pairing code {code} is waiting. Codes are valid for an hour.",
    "没有等待批准的配对码 {code}，配对码一小时内有效。",
)
PAIR_NOT_HERE: Final = Text(
    "Only an admin can approve a pairing, in a direct chat with me.",
    "只有管理员能批准配对，请在与我的单聊中发送。",
)
PAIR_USAGE: Final = Text("Usage: /pair <code>", "用法：/pair <配对码>")
