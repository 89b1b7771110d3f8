// Refreshing, dialogs, language names and colours. Pages work without it; it holds no figure of its own.
"use strict";

const THEMES = { auto: "Auto", light: "Light", dark: "Dark" };
const themeButton = document.getElementById("theme");
const pulse = document.getElementById("pulse");
const dialog = document.getElementById("dialog");

function showTheme() {
  const theme = document.documentElement.dataset.theme;
  themeButton.textContent = THEMES[theme];
  themeButton.setAttribute("aria-label", "Colours: " + (theme === "auto" ? "as the system" : theme));
}
themeButton.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("roost-theme", next); } catch { /* not kept, then */ }
  showTheme();
  document.dispatchEvent(new Event("roost:theme"));
});
showTheme();

const names = typeof Intl.DisplayNames === "function" ? new Intl.DisplayNames(["en"], { type: "language" }) : null;
function nameLanguages(root) {
  for (const node of root.querySelectorAll("[data-language]")) {
    try {
      // CLDR calls the language that nobody knows "root"
      const name = node.dataset.language === "und" ? "unknown" : names && names.of(node.dataset.language);
      if (name && name !== node.dataset.language) node.textContent = name;
    } catch { /* no language code: as it came */ }
  }
}
nameLanguages(document);

function say(text, well) {
  pulse.hidden = false;
  pulse.classList.toggle("lost", !well);
  if (pulse.lastElementChild.textContent !== text) pulse.lastElementChild.textContent = text;
}

// what a person has opened or stands on outlives a refresh
function replaceKeeping(place, html) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const open = new Map([...place.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const scrolled = new Map([...place.querySelectorAll(".scroll[aria-label]")].map((one) => [one.getAttribute("aria-label"), one.scrollLeft]));
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  nameLanguages(fresh);
  for (const one of fresh.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = open.get(one.id);
  place.replaceChildren(...fresh.childNodes);
  for (const one of place.querySelectorAll(".scroll[aria-label]")) one.scrollLeft = scrolled.get(one.getAttribute("aria-label")) || 0;
  document.dispatchEvent(new Event("roost:replaced"));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function refresh(place) {
  const selected = document.getSelection();
  const reading = selected && !selected.isCollapsed && place.contains(selected.anchorNode);
  if (document.hidden || dialog.open || reading) return;
  try {
    const answer = await fetch(place.dataset.poll, { signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(answer.status);
    replaceKeeping(place, await answer.text());
    say("Live", true);
  } catch {
    say("Console not answering", false);
  }
}

function every(ms, task) {
  const turn = async () => { await task(); setTimeout(turn, ms); };
  setTimeout(turn, ms);
}
for (const place of document.querySelectorAll("[data-poll]")) {
  say("Live", true);
  every(Number(place.dataset.everyMs), () => refresh(place));
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-dialog]");
  const close = event.target.closest("dialog [data-close]");
  if (close) {
    event.preventDefault();
    dialog.close();
  } else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    try {
      const answer = await fetch(link.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const content = page.querySelector("main").firstElementChild;
      if (!answer.ok || !content) throw new Error(answer.status);
      dialog.replaceChildren(content);
      dialog.showModal();
      dialog.addEventListener("close", () => document.getElementById(link.id)?.focus(), { once: true });
    } catch {
      // its own page says what is wrong
      location.assign(link.href);
    }
  }
});
document.addEventListener("keydown", (event) => {
  const link = event.target.closest && event.target.closest('a[role="button"]');
  if (link && event.key === " ") {
    event.preventDefault();
    link.click();
  }
});
