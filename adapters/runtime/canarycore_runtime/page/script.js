"use strict";
// Refreshes the elements with data-live, asks before commands, and signs in with a key in the address.

const PERIOD = 2000; // milliseconds
let tag = "";

async function refresh() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  const headers = tag ? { "If-None-Match": tag } : {};
  const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  tag = answer.headers.get("ETag") || "";
  replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

function replace(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now === null) continue;
    for (const opened of old.querySelectorAll("details[open][id]")) {
      const same = now.querySelector(`#${CSS.escape(opened.id)}`);
      if (same !== null) same.open = true;
    }
    if (old.innerHTML === now.innerHTML) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceChildren(...now.childNodes);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

async function poll() {
  try {
    await refresh();
    document.body.classList.remove("is-stale");
  } catch {
    document.body.classList.add("is-stale");
  }
  setTimeout(poll, PERIOD);
}

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

function signIn() {
  const form = document.getElementById("sign-in");
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (form === null || !key) return false;
  history.replaceState(null, "", location.pathname); // the key stays in no history
  form.elements.secret.value = key;
  form.submit();
  return true;
}

addEventListener("hashchange", signIn);
if (!signIn()) setTimeout(poll, PERIOD);
