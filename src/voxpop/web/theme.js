// Sets the remembered theme before the first paint; without one it leaves the choice to the system.
"use strict";
try {
  const theme = localStorage.getItem("voxpop.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is refused: the system decides.
}
