// The page of a registration's link: what a telephone would show after the scan.
import { post } from "./api.js";
import { element } from "./dom.js";
import { t, users } from "./store.js";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let offered = false;

async function scopesOf(encoded) {
  if (!encoded) return [];
  const bytes = Uint8Array.from(atob(encoded.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const addons = JSON.parse(await new Response(plain).text());
  return [...(addons.scopes?.tenant ?? []), ...(addons.events?.items?.tenant ?? []), ...(addons.callbacks?.items ?? [])];
}

// Offer what the address asks for, once the users are known.
export async function offer({ done, failed }) {
  if (offered || !query.get("user_code")) return;
  offered = true;
  $("scan-name").textContent = query.get("name") ?? "larkd";
  $("scan-code").textContent = query.get("user_code");
  $("scan-operator").replaceChildren(...[...users.values()].map((user) => element("option", { value: user.open_id }, user.name)));
  const scopes = await scopesOf(query.get("addons")).catch(() => []);
  $("scan-scopes").replaceChildren(...scopes.map((scope) => element("li", {}, scope)));
  $("scan-scopes-box").hidden = !scopes.length;
  const decide = async (action) => {
    try {
      await post("registrations", { url: query.toString(), action, operator: $("scan-operator").value, tenant_brand: $("scan-brand").value });
      done(t(action === "approve" ? "approved" : "denied"));
    } catch (error) { failed(error); }
    history.replaceState(null, "", location.pathname);
    $("scan-dialog").close();
  };
  $("scan-form").addEventListener("submit", (event) => { event.preventDefault(); decide("approve"); });
  $("scan-deny").addEventListener("click", () => decide("deny"));
  $("scan-dialog").showModal();
}
