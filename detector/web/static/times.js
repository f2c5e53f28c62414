// Relative times that tick, absolute ones in the viewer's zone; the same wording as the server's.
const SECOND = 1000, MINUTE = 60_000, HOUR = 3_600_000, DAY = 86_400_000;

export function span(length) {
  length = Math.abs(length);
  if (length < 90 * SECOND) return `${Math.round(length / SECOND)} s`;
  if (length < 119.5 * MINUTE) return `${Math.round(length / MINUTE)} min`;
  if (length < 2 * DAY) {
    const hours = Math.floor(Math.round(length / MINUTE) / 60), minutes = Math.round(length / MINUTE) % 60;
    return minutes && hours < 10 ? `${hours} h ${minutes} min` : `${Math.round(length / HOUR)} h`;
  }
  return `${Math.round(length / DAY).toLocaleString("en")} days`;
}

export function relative(at, now) {
  if (Math.abs(at - now) < SECOND) return "now";
  return at > now ? `in ${span(at - now)}` : `${span(now - at)} ago`;
}

export function within(early, likely, late, now) {
  if (late <= now) return `overdue by ${span(now - late)}`;
  const left = likely - now;
  if (left <= 0) return `any moment, within ${span(late - now)}`;
  const [unit, word] = left < 90 * SECOND ? [SECOND, "s"] : left < 120 * MINUTE ? [MINUTE, "min"]
    : left < 2 * DAY ? [HOUR, "h"] : [DAY, "days"];
  const [low, mid, high] = [early, likely, late].map((at) => {
    const count = Math.max(0, at - now) / unit;
    return (unit >= HOUR && count < 100 ? Math.round(count * 10) / 10 : Math.round(count)).toLocaleString("en");
  });
  return low === high ? `in ${mid} ${word}` : `in ${mid} ${word} (${low}-${high})`;
}

const clockForm = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayForm = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const fullForm = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  timeZoneName: "short",
});

function clock(at, now) {
  const then = new Date(at), today = new Date(now);
  const day = then.toDateString() === today.toDateString() ? "" : `${dayForm.format(then)} `;
  return day + clockForm.format(then);
}

function wording(element, now) {
  const at = Date.parse(element.dateTime), data = element.dataset;
  if ("early" in data) return within(Number(data.early), at, Number(data.late), now);
  if ("since" in data) return span(Math.max(0, now - at));
  if ("clock" in data) return clock(at, now);
  return relative(at, now);
}

// The title (and with it what a screen reader is told) changes once per element, the text when its words change.
export function tick(root) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const text = wording(element, now);
    if (element.textContent !== text) element.textContent = text;
    if (!element.dataset.zoned) {
      element.dataset.zoned = "1";
      const data = element.dataset;
      element.title = "early" in data
        ? `${fullForm.format(Number(data.early))} to ${fullForm.format(Number(data.late))}`
        : fullForm.format(Date.parse(element.dateTime));
    }
  }
}
