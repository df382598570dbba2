/** Times in words: "3 minutes ago", with the full time in the reader's own zone as the title. */

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["week", 7 * 86_400],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });

/** How far `time` is from `now`, in the largest unit that fits. Less than a minute is "just now". */
export function relativeTime(time: Date, now: Date = new Date()): string {
  const seconds = (time.getTime() - now.getTime()) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return words.format(Math.trunc(seconds / length), unit);
  }
  return seconds > 1 ? "in less than a minute" : "just now";
}

/** Rewrites every `<time datetime data-relative>` below `root`, and keeps them true while the page is open. */
export function connectTimes(root: ParentNode = document): void {
  const render = (): void => {
    for (const shown of root.querySelectorAll<HTMLTimeElement>("time[data-relative]")) {
      const time = new Date(shown.dateTime);
      if (Number.isNaN(time.getTime())) continue;
      shown.textContent = relativeTime(time);
      shown.title = full.format(time);
    }
  };
  render();
  window.setInterval(render, 60_000);
}
