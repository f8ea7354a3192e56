// The official TypeScript MCP client, driven line by line: what it saw goes to stdout.
// Usage: node mcp_client.mjs COMMAND [ARGUMENT…]
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { createInterface } from "node:readline";

const [command, ...args] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const client = new Client({ name: "a-client", version: "1" });
client.fallbackNotificationHandler = async (one) => say({ notified: one.method, params: one.params });
const transport = new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
await client.connect(transport);
say({ server: client.getServerVersion().name, tools: (await client.listTools()).tools.map((one) => one.name) });

for await (const line of createInterface({ input: process.stdin })) {
  const { name, args: given } = JSON.parse(line);
  const answer = await client.callTool({ name, arguments: given });
  say({ called: name, error: answer.isError, text: answer.content[0].text });
}
await client.close();
say({ closed: true });
