// What script adds to pages that work without it: ticking times, live facts, keys.
import { follow } from "./live.js";
import { keys } from "./keys.js";
import { tick } from "./times.js";

tick(document);
setInterval(() => { if (!document.hidden) tick(document); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(document); });
keys();
for (const tab of document.querySelectorAll(".tabs [aria-current], .top nav [aria-current]")) {
  // As far as need be and no further: what stands first stays in sight where it can.
  const line = tab.parentElement;
  line.scrollLeft = tab.offsetLeft - line.offsetLeft + tab.offsetWidth + 48 - line.clientWidth;
}
follow();
