export const texts = {
  en_us: {
    sandbox: "sandbox", chats: "Chats", messages: "Messages", newChat: "New chat", inspector: "Inspector", close: "Close", as: "as", placeholder: "Message — Enter sends, Shift+Enter breaks the line", placeholderShort: "Message", send: "Send", attach: "Attach a picture or file", remove: "Remove", calls: "Platform calls", name: "Name", kind: "Kind", direct: "direct", group: "group", topicGroup: "topic group", cancel: "Cancel", create: "Create",
    online: "bot connected", offline: "bot not connected", away: "The sandbox is not reachable; trying again…", stranger: "This page belongs to an earlier run. Open the address that larkd printed.", connecting: "connecting…",
    recalled: "This message was recalled", replyTo: "Reply to", reply: "Reply", topic: "Reply in topic", recall: "Recall", react: "Like", more: "More", latest: "Latest", earlier: "Earlier messages", emptyTitle: "Write something", empty: "A message typed here goes to the bot as a real Feishu event; the agent's answer streams into a card.", timeout: "The bot did not answer in time", failed: "The bot answered with an error", tooLarge: "is over 30 MB", drop: "Drop to attach", voice: "voice message", image: "picture", file: "file", other: "中文",
    scanTitle: "Make an app", scanText: "A program on this machine asks for an app. What a telephone would confirm is confirmed here.", scanScopes: "It asks for", scanAs: "Confirm as", brand: "Tenant of", approve: "Make it", deny: "Refuse", approved: "The app was made. The program goes on by itself.", denied: "Refused.",
  },
  zh_cn: {
    sandbox: "沙盒", chats: "会话", messages: "消息", newChat: "新建会话", inspector: "检查器", close: "关闭", as: "身份", placeholder: "输入消息 — Enter 发送，Shift+Enter 换行", placeholderShort: "输入消息", send: "发送", attach: "添加图片或文件", remove: "移除", calls: "平台调用", name: "名称", kind: "类型", direct: "单聊", group: "群聊", topicGroup: "话题群", cancel: "取消", create: "创建",
    online: "机器人已连接", offline: "机器人未连接", away: "沙盒无法访问，正在重试…", stranger: "此页面属于之前的运行。请打开 larkd 打印的地址。", connecting: "正在连接…",
    recalled: "此消息已撤回", replyTo: "回复", reply: "回复", topic: "话题回复", recall: "撤回", react: "点赞", more: "更多", latest: "最新消息", earlier: "更早的消息", emptyTitle: "写点什么", empty: "在这里输入的消息会作为真实的飞书事件发给机器人，智能体的回答会流式写入卡片。", timeout: "机器人未及时响应", failed: "机器人返回错误", tooLarge: "超过 30 MB", drop: "松开即可添加", voice: "语音消息", image: "图片", file: "文件", other: "EN",
    scanTitle: "创建应用", scanText: "本机上的一个程序请求创建应用。在手机上确认的内容在这里确认。", scanScopes: "请求的权限", scanAs: "确认身份", brand: "租户", approve: "创建", deny: "拒绝", approved: "应用已创建，程序会自动继续。", denied: "已拒绝。",
  },
};
