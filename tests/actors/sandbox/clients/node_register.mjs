// The official Node SDK's registerApp against the sandbox; prints JSON lines.
import * as lark from "@larksuiteoapi/node-sdk";

const domain = process.argv[2].replace("http://", "");
const report = (what, more = {}) => console.log(JSON.stringify({ what, ...more }));

// The SDK knows https only; its own HTTP instance lets the scheme be changed.
lark.defaultHttpInstance.interceptors.request.use((config) => ({ ...config, url: config.url.replace("https://", "http://") }));
try {
  const app = await lark.registerApp({
    domain,
    larkDomain: domain,
    source: "larkd",
    appPreset: { name: "Robo" },
    addons: { preset: false, scopes: { tenant: ["im:message"] } },
    onQRCodeReady: ({ url }) => report("link", { url }),
  });
  report("app", { app });
} catch (failed) {
  report("failed", { reason: String(failed.description ?? failed.message ?? failed) });
}
