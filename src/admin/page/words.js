// How numbers and moments are said, and how elements are made. What the server sends becomes text nodes
// and nothing else, so no name of a bridge or network can be markup.

const NOTHING = "–";

const find = (id) => document.getElementById(id);

const make = (tag, properties, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

const draw = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Text that has not changed is left alone, so that a selection and a screen reader's place in it survive.
const write = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const count = (number) => (number === null ? NOTHING : grouped.format(number));

const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

// A number and its unit: [1.4, "MiB"].
const bytes = (number) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let place = 0;
  while (number >= 1000 && place < units.length - 1) [number, place] = [number / 1024, place + 1];
  return [short.format(number), units[place]];
};

const rate = (number) => (number < 10 ? short.format(Math.round(number * 10) / 10) : grouped.format(number));

// A duration that someone may want to copy into a configuration: exact to a tenth below 100 s.
const duration = (seconds) => {
  if (seconds === null) return NOTHING;
  if (seconds < 100) return `${short.format(Math.round(seconds * 10) / 10)} s`;
  return age(seconds);
};

// How long ago something was, in at most two units.
const age = (seconds) => {
  if (seconds === null) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0 s";
  const [name, size] = units[first];
  const rest = units[first + 1];
  const left = rest ? Math.floor((whole % size) / rest[1]) : 0;
  return `${Math.floor(whole / size)} ${name}${left ? ` ${left} ${rest[0]}` : ""}`;
};

const two = (number) => String(number).padStart(2, "0");

const clock = (at, hasSeconds = true) => {
  const date = new Date(at * 1000);
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return hasSeconds ? `${minutes}:${two(date.getSeconds())}` : minutes;
};

// A moment: the time of day, with the date where that is another day's.
const moment = (at, now) => {
  const day = (time) => new Date(time * 1000).toDateString();
  if (day(at) === day(now)) return clock(at);
  const date = new Date(at * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(at)}`;
};

// A beautiful bound for an axis of whole numbers: 4, or 1, 2 or 5 times a power of ten.
const roundUp = (number) => {
  if (number <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= number);
};
