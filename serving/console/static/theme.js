// The chosen colours, before the first paint.
"use strict";
try {
  const chosen = localStorage.getItem("roost-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: as the system has it */ }
