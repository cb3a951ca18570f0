// The documentation shows the address it was opened at.

import { startTheme } from "./theme.js";

for (const place of document.querySelectorAll(".base")) place.textContent = new URL(".", location.href).href;
startTheme(document.getElementById("theme-button"), document.getElementById("theme-label"));
