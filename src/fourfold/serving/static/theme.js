// Light, dark, or as the system has it; remembered on this device.

const KEY = "fourfold-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "as the system", light: "light", dark: "dark" };

/** Lets a button go through the three themes. */
export function startTheme(button, label) {
  let theme = "auto";
  try {
    theme = localStorage.getItem(KEY) || "auto";
  } catch {
    // no storage in this window
  }
  if (!(theme in NEXT)) theme = "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    label.textContent = `Theme: ${WORDS[theme]}`;
    button.title = `Theme: ${WORDS[theme]}`;
  };
  button.onclick = () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // as above
    }
    show();
  };
  show();
}
