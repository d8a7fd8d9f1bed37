/** Times in a readable form: of a film as mm:ss, of a clock as date and time in UTC. */

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE,
  30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY,
  28 * DAY, 91 * DAY, 182 * DAY, 365 * DAY];

const two = (number) => String(number).padStart(2, "0");

/** Returns `1:02:03.4` or `02:03.4`; a whole second has no digit after the point. */
function filmTime(seconds) {
  const tenths = Math.round(Math.abs(seconds) * 10);
  const whole = Math.floor(tenths / 10);
  const hours = Math.floor(whole / HOUR);
  const parts = [two(Math.floor(whole / MINUTE) % 60), two(whole % 60)];
  if (hours) parts.unshift(hours);
  return `${seconds < 0 ? "-" : ""}${parts.join(":")}${tenths % 10 ? `.${tenths % 10}` : ""}`;
}

function dateOf(seconds) {
  const time = new Date(seconds * 1000);
  return {
    day: `${time.getUTCFullYear()}-${two(time.getUTCMonth() + 1)}-${two(time.getUTCDate())}`,
    minute: `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`,
    second: `:${two(time.getUTCSeconds())}`,
  };
}

/** Returns the readable form of a time in seconds. */
export function readable(seconds, clock) {
  if (seconds === null || seconds === undefined) return "";
  if (!clock) return filmTime(seconds);
  const { day, minute, second } = dateOf(seconds);
  return `${day} ${minute}${second}`;
}

/** Returns what an input of a time holds: a `datetime-local` one of a clock, else a text. */
export function forInput(seconds, clock) {
  return clock ? readable(seconds, true).replace(" ", "T") : readable(seconds, false);
}

/** Returns the seconds that a text means, null if it is empty, NaN if it means none. */
export function parseTime(text, clock) {
  const trimmed = text.trim();
  if (!trimmed) return null;
  if (clock) return new Date(`${trimmed.replace(" ", "T")}Z`).getTime() / 1000;
  if (!/^(\d+:){0,2}\d+([.,]\d+)?$/.test(trimmed)) return NaN;
  return trimmed.replace(",", ".").split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** Prepares an input for times: its type, its zone, and an example of what it takes. */
export function prepareInput(input, clock) {
  input.type = clock ? "datetime-local" : "text";
  input.parentElement.querySelector(".zone").hidden = !clock;
  if (clock) input.step = "1";
  else input.placeholder = "mm:ss";
}

/** Returns about `wanted` round times within a range, each with its label. */
export function ticks(first, last, wanted, clock) {
  const step = STEPS.find((length) => (last - first) / length <= wanted) ?? STEPS.at(-1);
  const found = [];
  for (let at = Math.ceil(first / step) * step; at <= last; at += step) {
    found.push({ at, label: tickLabel(at, step, clock) });
  }
  return found;
}

function tickLabel(at, step, clock) {
  if (!clock) return filmTime(at);
  const { day, minute, second } = dateOf(at);
  if (step >= DAY) return day;
  if (step >= MINUTE) return minute === "00:00" ? day : minute;
  return minute + second;
}
