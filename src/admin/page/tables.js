// What the four lists show.

const plain = (say) => (cell, item, list) => write(cell, say(item, list));

const withAside = (say, aside) => (cell, item) => {
  if (cell.childElementCount === 0) cell.append(make("span", {}), " ", make("span", { className: "aside" }));
  write(cell.firstElementChild, say(item));
  write(cell.lastElementChild, aside(item));
};

const size = (number) => bytes(number).join(" ");
const bothWays = (item) => `${count(item.uplink.messages)} / ${count(item.downlink.messages)}`;
const bothSizes = (item) => `${size(item.uplink.bytes)} / ${size(item.downlink.bytes)}`;
const bothSides = (item) => (name) => count(item.beats.client[name] + item.beats.backend[name]);

const bridges = new List({
  section: "bridges",
  path: "api/bridges",
  key: (bridge) => bridge.name,
  sort: "name",
  order: "asc",
  limit: 25,
  none: "There is no bridge.",
  columns: [
    { title: "Name", sort: "name", isText: true, className: "text main", fill: plain((bridge) => bridge.name) },
    { title: "From", className: "text broad", fill: plain((bridge) => bridge.listen) },
    { title: "To", className: "text broad", fill: plain((bridge) => bridge.backend) },
    { title: "Alive", sort: "active", className: "number", fill: plain((bridge) => count(bridge.active)) },
    { title: "Opened", sort: "opened", className: "number", fill: plain((bridge) => count(bridge.opened)) },
    { title: "Messages up\u00a0/\u00a0down", brief: "Messages", className: "number", fill: plain(bothWays) },
    { title: "Bytes up\u00a0/\u00a0down", brief: "Bytes", className: "number", fill: plain(bothSizes) },
    {
      title: "Beats answered\u00a0/\u00a0missed",
      brief: "Beats",
      className: "number",
      fill: plain((bridge) => `${bothSides(bridge)("answered")} / ${bothSides(bridge)("missed")}`),
    },
    {
      title: "Deaths client\u00a0/\u00a0backend",
      brief: "Deaths",
      className: "number",
      fill: plain((bridge) => `${count(bridge.deaths.client)} / ${count(bridge.deaths.backend)}`),
    },
  ],
});

// The scale that the pictures of the networks share: from a little below the shortest time to a little above the longest.
const TICKS = [[1, "1 s"], [3, "3 s"], [10, "10 s"], [30, "30 s"], [60, "1 min"], [180, "3 min"], [600, "10 min"],
  [1800, "30 min"], [3600, "1 h"], [10800, "3 h"], [36000, "10 h"], [86400, "1 d"]];
// Those that are named even where there is no room for all.
const FIRST_TICKS = [1, 10, 60, 600, 3600, 36000];
const scale = { from: 10, to: 3600, ticks: [] };
const percent = (seconds) => (100 * Math.log(Math.max(seconds, scale.from) / scale.from)) / Math.log(scale.to / scale.from);

const setScale = (networks, list) => {
  const times = networks.flatMap((it) => [it.proven_s, it.broken_s, it.in_use_s]).filter((time) => time > 0);
  const bounds = TICKS.map(([time]) => time);
  scale.from = bounds.findLast((bound) => bound < Math.min(10, ...times) / 1.1) ?? 0.3;
  scale.to = bounds.find((bound) => bound > Math.max(60, ...times) * 1.1) ?? 3 * 86400;
  scale.ticks = TICKS.filter(([time]) => time > scale.from && time < scale.to);
  const axis = list.heads[list.columns.findIndex((column) => column.isScale)];
  axis.querySelector("svg")?.remove();
  const labels = scale.ticks.filter(([time]) => scale.ticks.length <= 5 || FIRST_TICKS.includes(time));
  axis.append(draw("svg", { class: "axis", "aria-hidden": "true" },
    ...labels.map(([time, label]) => draw("text", { x: `${percent(time)}%`, y: "80%", "text-anchor": "middle" }, label))));
};

const picture = (cell, network) => {
  const { proven_s: proven, broken_s: broken, in_use_s: used } = network;
  const end = broken === null ? 100 : percent(broken);
  const start = proven === null ? 0 : percent(proven);
  const parts = scale.ticks.map(([time]) => {
    const x = `${percent(time)}%`;
    return draw("line", { class: "grid", x1: x, x2: x, y1: 0, y2: "100%" });
  });
  if (start > 0) parts.push(draw("rect", { class: "proven", x: 0, y: 9, width: `${start}%`, height: 7, rx: 1 }));
  if (end > start) parts.push(draw("line", { class: "unknown", x1: `${start}%`, x2: `${end}%`, y1: 12.5, y2: 12.5 }));
  if (broken !== null) parts.push(draw("rect", { class: "broken", x: `${end}%`, y: 8, width: `${100 - end}%`, height: 9 }));
  if (used !== null) {
    const x = `${percent(used)}%`;
    parts.push(draw("line", { class: "used-line", x1: x, x2: x, y1: 2, y2: 21 }));
    parts.push(draw("line", { class: "used", x1: x, x2: x, y1: 3, y2: 20 }));
    parts.push(draw("svg", { x, y: 3, overflow: "visible" }, draw("path", { class: "used", d: "M-3.5 0L0-3.5 3.5 0 0 3.5Z" })));
  }
  cell.replaceChildren(draw("svg", { class: "picture", "aria-hidden": "true" }, ...parts));
};

const networkState = (network) => {
  if (network.is_in_doubt) return "in doubt";
  return network.is_settled ? "settled" : "learning";
};

const networks = new List({
  section: "networks",
  path: "api/networks",
  key: (network) => `${network.side} ${network.policy} ${network.name}`,
  sort: "connections",
  order: "desc",
  limit: 12,
  isFiltered: true,
  none: "No network is known yet.",
  before: setScale,
  columns: [
    { title: "Network", sort: "name", isText: true, className: "text main", fill: withAside((network) => network.name, (network) => `${network.side}s`) },
    { title: "Connections", sort: "connections", className: "number", fill: plain((network) => count(network.connections)) },
    { title: "Silence, logarithmic", className: "scale", isScale: true, fill: picture },
    { title: "Proven", sort: "proven", className: "number", fill: plain((network) => duration(network.proven_s)) },
    { title: "Broke at", className: "number", fill: plain((network) => duration(network.broken_s)) },
    { title: "In use", sort: "in_use", className: "number", fill: plain((network) => duration(network.in_use_s)) },
    { title: "State", className: "state", fill: withAside(networkState, (network) => network.policy) },
  ],
});

const CAUSES = { nat: "NAT", unclear: "unclear", reset: "reset" };

const cause = (cell, death) => {
  if (cell.childElementCount === 0) cell.append(make("span", {}));
  cell.firstElementChild.className = `cause ${death.cause in CAUSES ? death.cause : ""}`;
  write(cell.firstElementChild, CAUSES[death.cause] ?? death.cause);
};

const deaths = new List({
  section: "deaths",
  path: "api/deaths",
  key: (death) => `${death.session} ${death.side} ${death.at}`,
  limit: 12,
  isFiltered: true,
  note: "A connection that did not answer a beat, and how long it had been silent. NAT: the silence was longer than its network keeps a connection.",
  none: "Nobody has died.",
  columns: [
    { title: "When", className: "main", fill: plain((death) => moment(death.at, now())) },
    { title: "Session", className: "text broad", fill: withAside((death) => String(death.session), (death) => death.bridge) },
    { title: "Who", className: "text broad", fill: withAside((death) => (death.side === "client" ? death.client ?? "client" : "backend"), (death) => death.network ?? "") },
    { title: "Cause", fill: cause },
    { title: "Silence", className: "number", fill: plain((death) => duration(death.silence_s)) },
    { title: "Back after", className: "number", fill: plain((death) => (death.returned === null ? NOTHING : duration(death.returned - death.at))) },
  ],
});

const closing = new Set();

const closer = (cell, session) => {
  if (cell.childElementCount === 0) {
    const button = make("button", { type: "button" });
    button.addEventListener("click", () => closeSession(cell.session));
    cell.append(button);
  }
  cell.session = session;
  const button = cell.firstElementChild;
  const isClosing = closing.has(session.id);
  button.setAttribute("aria-label", `${isClosing ? "Closing" : "Close"} session ${session.id}`);
  button.setAttribute("aria-disabled", String(isClosing));
  write(button, isClosing ? "Closing" : "Close");
};

const sessions = new List({
  section: "sessions",
  path: "api/sessions",
  key: (session) => session.id,
  sort: "opened",
  order: "desc",
  limit: 50,
  isFiltered: true,
  none: "Nobody is connected.",
  columns: [
    { title: "Session", sort: "id", className: "main", fill: plain((session) => String(session.id)) },
    { title: "Bridge", sort: "bridge", isText: true, className: "text", fill: plain((session) => session.bridge) },
    { title: "Client", sort: "client", isText: true, className: "text broad", fill: plain((session) => session.client ?? NOTHING) },
    { title: "Open for", sort: "opened", isInverse: true, className: "number", fill: plain((session) => age(now() - session.opened)) },
    {
      title: "Last message",
      sort: "last_message",
      isInverse: true,
      className: "number",
      fill: plain((session) => (session.last_message === null ? "none yet" : `${age(now() - session.last_message)} ago`)),
    },
    { title: "Messages up\u00a0/\u00a0down", brief: "Messages", sort: "messages", className: "number", fill: plain(bothWays) },
    { title: "Bytes up\u00a0/\u00a0down", brief: "Bytes", sort: "bytes", className: "number", fill: plain(bothSizes) },
    {
      title: "Beats client\u00a0/\u00a0backend",
      brief: "Beats every",
      className: "number broad",
      fill: plain((session) => `${duration(session.interval_s.client)} / ${duration(session.interval_s.backend)}`),
    },
    { title: "Action", isUnseen: true, className: "act", fill: closer },
  ],
});
