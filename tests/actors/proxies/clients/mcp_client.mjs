// The official TypeScript MCP clients, driven line by line: what they saw goes to stdout.
// Usage: node mcp_client.mjs first|legacy|auto COMMAND [ARGUMENT…]
// first: the client of the first SDK; legacy, auto: the second's, in that mode.
import { createInterface } from "node:readline";

const [mode, command, ...args] = process.argv.slice(2);
const [library, { StdioClientTransport }] =
  mode === "first"
    ? [await import("@modelcontextprotocol/sdk/client/index.js"), await import("@modelcontextprotocol/sdk/client/stdio.js")]
    : [await import("@modelcontextprotocol/client"), await import("@modelcontextprotocol/client/stdio")];
const options = mode === "first" ? {} : { versionNegotiation: { mode } };
const send = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const client = new library.Client({ name: "a-client", version: "1" }, options);
client.fallbackNotificationHandler = async (one) => send({ notified: one.method, params: one.params });
await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" }));
send({ server: client.getServerVersion().name, tools: (await client.listTools()).tools.map((one) => one.name) });

for await (const line of createInterface({ input: process.stdin })) {
  const { name, args: given } = JSON.parse(line);
  const answer = await client.callTool({ name, arguments: given });
  send({ called: name, error: answer.isError, text: answer.content[0].text });
}
await client.close();
send({ closed: true });
