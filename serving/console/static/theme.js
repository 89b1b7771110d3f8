// What must be settled before anything else: the chosen colours, before the first paint, and a language that Intl knows.
"use strict";
try {
  const chosen = localStorage.getItem("roost-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: as the system has it */ }
// A browser in the C locale calls its language "en-US@posix": Intl refuses it, and with it the chart library would not start.
try { Intl.getCanonicalLocales(navigator.language); } catch { Object.defineProperty(navigator, "language", { value: "en" }); }
