// The official Node SDK as a client of the sandbox; prints what it sees as JSON lines.
import * as lark from "@larksuiteoapi/node-sdk";

const [domain, appId, appSecret, chatId] = process.argv.slice(2);
const report = (what, more = {}) => console.log(JSON.stringify({ what, ...more }));
const quiet = { error: console.error, warn: console.error, info: console.error, debug() {}, trace() {} };
const client = new lark.Client({ appId, appSecret, domain, logger: quiet });

// Every call there is for elements, sequences 3 to 7.
async function changeElements(card_id) {
  const path = { card_id, element_id: "more" };
  const actions = [
    { action: "partial_update_element", params: { element_id: "text", partial_element: { content: "Hello in a batch" } } },
    { action: "add_elements", params: { type: "append", elements: [{ tag: "markdown", element_id: "more" }] } },
  ];
  await client.cardkit.v1.card.batchUpdate({ path: { card_id }, data: { actions: JSON.stringify(actions), sequence: 3 } });
  await client.cardkit.v1.cardElement.patch({ path, data: { partial_element: JSON.stringify({ content: "patched" }), sequence: 4 } });
  await client.cardkit.v1.cardElement.update({ path, data: { element: JSON.stringify({ tag: "markdown", element_id: "more", content: "replaced" }), sequence: 5 } });
  await client.cardkit.v1.cardElement.create({ path: { card_id }, data: { type: "insert_before", target_element_id: "more", elements: JSON.stringify([{ tag: "hr", element_id: "line" }]), sequence: 6 } });
  await client.cardkit.v1.cardElement.delete({ path: { card_id, element_id: "line" }, data: { sequence: 7 } });
}

async function streamACard() {
  const button = { tag: "button", element_id: "go", text: { tag: "plain_text", content: "Go" }, behaviors: [{ type: "callback", value: { key: "value" } }] };
  const card = { schema: "2.0", config: { streaming_mode: true, summary: { content: "" } }, body: { elements: [{ tag: "markdown", element_id: "text", content: "" }, button] } };
  const made = await client.cardkit.v1.card.create({ data: { type: "card_json", data: JSON.stringify(card) } });
  const card_id = made.data.card_id;
  const sent = await client.im.v1.message.create({ params: { receive_id_type: "chat_id" }, data: { receive_id: chatId, msg_type: "interactive", content: JSON.stringify({ type: "card", data: { card_id } }) } });
  for (const [index, content] of ["Hello", "Hello world"].entries()) {
    await client.cardkit.v1.cardElement.content({ path: { card_id, element_id: "text" }, data: { content, sequence: index + 1 } });
  }
  await changeElements(card_id);
  await client.cardkit.v1.card.settings({ path: { card_id }, data: { settings: JSON.stringify({ config: { streaming_mode: false } }), sequence: 8 } });
  card.config = { streaming_mode: false };
  card.body.elements[0].content = "Hello world, updated";
  await client.cardkit.v1.card.update({ path: { card_id }, data: { card: { type: "card_json", data: JSON.stringify(card) }, sequence: 9 } });
  const { message_id } = sent.data;
  const replied = await client.im.v1.message.reply({ path: { message_id }, data: { msg_type: "text", content: JSON.stringify({ text: "done" }) } });
  report("card", { card_id, message_id, reply_id: replied.data.message_id });
}

// What a bot can ask about itself.
async function readBack() {
  const online = await client.event.v1.connection.get();
  const granted = await client.application.v6.scope.list();
  report("read_back", { online: online.data.online_instance_cnt, scopes: granted.data.scopes.map((one) => one.scope_name) });
}

const eventDispatcher = new lark.EventDispatcher({ logger: quiet }).register({
  "im.message.receive_v1": async (data) => { report("event", { message_id: data.message.message_id, content: data.message.content }); },
  "card.action.trigger": async (data) => { report("pressed", { value: data.action.value }); return { toast: { type: "success", content: "pressed through the SDK" } }; },
});
const socket = new lark.WSClient({ appId, appSecret, domain, logger: quiet });
await socket.start({ eventDispatcher });
readBack().then(streamACard).catch((failed) => report("failed", { reason: String(failed.response?.data?.msg ?? failed) }));
