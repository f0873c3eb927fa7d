// Requests to the host. The token lives in this module's memory, and ends with the page.

import { byId } from "/page/dom.js";

let token = null;
let asking = null;

/** What the host refused, in its own words. */
export class Refused extends Error {}

/** Asks, and answers what the host said as JSON. Asks a person for the token where the host wants one. */
export async function ask(path, { method = "GET", timeout = 10_000 } = {}) {
  const response = await send(path, { method, signal: AbortSignal.timeout(timeout) });
  return response.json();
}

/** The same for an answer that is read as it comes. */
export async function send(path, options) {
  for (;;) {
    const headers = token === null ? {} : { authorization: `Bearer ${token}` };
    const shown = token;
    const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.status === 401) {
      await wantToken(shown);
      // The time that a person took is none of the host's.
      options = { ...options, signal: options.until ?? AbortSignal.timeout(10_000) };
      continue;
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new Refused(said.error ?? `the host answered ${response.status}`);
    }
    return response;
  }
}

/** One dialog for however many requests wait. */
function wantToken(shown) {
  if (shown !== token) return Promise.resolve();
  asking ??= new Promise((resolve) => {
    const dialog = byId("token");
    byId("token-wrong").textContent = shown === null ? "" : "This is not the token.";
    byId("token-text").value = "";
    // There is nothing to see without it.
    dialog.addEventListener("cancel", stay);
    dialog.addEventListener("close", () => {
      dialog.removeEventListener("cancel", stay);
      token = byId("token-text").value.trim();
      byId("token-text").value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
    byId("token-text").focus();
  });
  return asking;
}

function stay(event) {
  event.preventDefault();
}
