// What keeps the page alive: the stream of events, the lists that are asked for beside it, and what a person does.

const PATIENCE_MS = 5000;
const LONGEST_PAUSE_MS = 5000;
const NOTICE_MS = 8000;

// The server has answered, but not with what was asked for.
class Refusal extends Error {}

const samples = new Samples();
const charts = [new AliveChart(find("alive"), find("alive-said")), new BeatsChart(find("beats"), find("beats-said"))];
const lists = [bridges, networks, deaths, sessions];
let status = null;
let previous = null;
let ahead = 0;
let isPaused = false;
let pageToken = document.querySelector("meta[name=natpulse-page]").content;

// The server's time, whose moments everything here is compared with.
const now = () => Date.now() / 1000 + ahead;

const ask = async (path, options) => {
  const response = await fetch(path, { cache: "no-store", ...options });
  if (response.ok) return response.status === 204 ? null : response.json();
  const { error } = await response.json().catch(() => ({}));
  throw Object.assign(new Refusal(error ?? `${response.status} ${response.statusText}`), { code: response.status });
};

let noticeTimer;
// Shown for a while, and said by a screen reader once.
const say = (text) => {
  clearTimeout(noticeTimer);
  find("notice").textContent = text;
  noticeTimer = setTimeout(() => find("notice").textContent = "", NOTICE_MS);
};

const perSecond = (of) => {
  const time = previous && previous.started === status.started ? status.now - previous.now : 0;
  return time > 0 ? Math.max(0, (of(status) - of(previous)) / time) : 0;
};

const flow = (direction) => {
  const [number, unit] = bytes(perSecond((it) => it[direction].bytes));
  const all = bytes(status[direction].bytes).join(" ");
  return [rate(perSecond((it) => it[direction].messages)), "msg/s", `${number} ${unit}/s, ${all} in all`];
};

// The line of numbers: for each its name, and what is to be said: the number, its unit, more, and whether it is grave.
const NUMBERS = [
  ["Alive", () => [count(status.sessions.active), "", `of ${plural(status.sessions.limit, "place", "places")}`]],
  ["Opened", () => [count(status.sessions.opened), "", `${count(status.sessions.closed)} closed`]],
  ["Uplink", () => flow("uplink")],
  ["Downlink", () => flow("downlink")],
  ["Beats answered", () => {
    const { sent, answered, missed } = status.beats;
    const share = answered + missed > 0 ? Math.floor((1000 * answered) / (answered + missed)) / 10 : null;
    return [share === null ? NOTHING : String(share), share === null ? "" : "%", `${count(sent)} sent, ${count(missed)} missed`];
  }],
  ["Deaths", () => {
    const { client, backend } = status.deaths;
    return [count(client + backend), "", `${plural(client, "client", "clients")}, ${plural(backend, "backend", "backends")}`, samples.deaths > 0];
  }],
  ["Networks", () => {
    const { learning, settled } = status.networks;
    return [count(learning + settled), "", `${count(learning)} learning, ${count(settled)} settled`];
  }],
  ["Up for", () => [age(status.now - status.started), "", `natpulse ${status.version}`]],
].map(([name, say]) => {
  const [value, unit, more] = ["value", "unit", "more"].map((className) => make("span", { className }));
  const box = make("div", {}, make("dt", {}, name), make("dd", { className: "value" }, value, unit), make("dd", {}, more));
  value.className = "";
  find("numbers").append(box);
  return () => {
    const [said, saidUnit, saidMore, isGrave] = say();
    write(value, said);
    write(unit, saidUnit);
    write(more, saidMore);
    box.classList.toggle("is-grave", Boolean(isGrave));
  };
});

const render = () => {
  if (!status || isPaused || document.hidden) return;
  NUMBERS.forEach((show) => show());
  charts.forEach((chart) => chart.show(samples));
  showMinutes(samples);
  write(find("draining"), status.is_draining ? "natpulse is leaving: it accepts no more clients, and tells those it has to come back." : "");
  document.title = `${count(status.sessions.active)} alive · natpulse`;
};

let turn = 0;
const renewLists = () => {
  if (isPaused || document.hidden) return;
  turn += 1;
  // Half of the lists at a time, so that the server is not asked for everything at once.
  lists.filter((_, place) => place % 2 === turn % 2).forEach((list) => list.renew());
};

// A natpulse that was restarted does not know this page's token, and may have another page.
const meet = async (stranger) => {
  const isNew = status !== null && status.started !== stranger.started;
  if (isNew && status.version !== stranger.version) location.reload();
  if (!isNew) return;
  const response = await fetch("./", { cache: "no-store" });
  // Searched as text: to parse it would have its styles checked against this page's policy.
  const [, token] = /name="natpulse-page" content="([^"]*)"/.exec(await response.text()) ?? [];
  pageToken = token ?? pageToken;
  closing.clear();
};

const hear = (heard) => {
  meet(heard).catch(() => {});
  previous = status;
  status = heard;
  ahead = heard.now - Date.now() / 1000;
  samples.add(heard);
  render();
  renewLists();
};

const setStream = (state, text) => {
  const was = document.documentElement.dataset.stream;
  document.documentElement.dataset.stream = state;
  write(find("stream-state"), isPaused && state === "live" ? "paused" : state);
  if (was !== state || state === "lost") write(find("trouble"), text);
  if (was === "lost" && state === "live") say("Connected again.");
};

let source = null;
let heardAt = 0;
let failures = 0;
let lostAt = null;
let retryTimer;

const lose = (reason) => {
  source?.close();
  source = null;
  lostAt ??= Date.now() / 1000;
  // One text for as long as it lasts, so that it is read out once.
  setStream("lost", `Lost natpulse at ${clock(lostAt)}${reason ? ` (${reason})` : ""}. What is below is from then; trying again.`);
  failures += 1;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
};

// Asks once before it listens: an event source does not tell why it cannot.
const connect = async () => {
  try {
    await ask("api/status", { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    lose(error instanceof Refusal ? error.message : "");
    return;
  }
  heardAt = performance.now();
  source = new EventSource("api/events");
  source.addEventListener("history", (event) => samples.replace(JSON.parse(event.data)));
  source.addEventListener("status", (event) => {
    heardAt = performance.now();
    [failures, lostAt] = [0, null];
    setStream("live", "");
    hear(JSON.parse(event.data));
  });
  source.addEventListener("error", () => lose(source.readyState === EventSource.CLOSED ? "it refuses its events" : ""));
};

// A connection that is cut without a word stays open: the stream says something once a second, or is lost.
setInterval(() => {
  if (source && performance.now() - heardAt > PATIENCE_MS) lose("");
}, 1000);

const confirmation = find("confirm");

const closeSession = (session) => {
  if (closing.has(session.id)) return;
  write(find("confirm-title"), `Close session ${session.id}?`);
  const who = session.client === null ? "The client" : `The client ${session.client}`;
  write(find("confirm-text"), `${who} on bridge ${session.bridge} is told “closed by the operator”, and may come back at once.`);
  confirmation.returnValue = "keep";
  confirmation.onclose = () => {
    if (confirmation.returnValue === "close") dismiss(session);
  };
  confirmation.showModal();
};

const dismiss = async ({ id }) => {
  closing.add(id);
  try {
    await ask(`api/sessions/${id}`, { method: "DELETE", headers: { "natpulse-page": pageToken } });
    say(`Session ${id} was closed.`);
  } catch (error) {
    closing.delete(id);
    if (error.code === 404) say(`Session ${id} had gone already.`);
    else say(`Session ${id} was not closed: ${error.message}`);
  }
  sessions.refresh();
};

find("pause").addEventListener("click", (event) => {
  isPaused = !isPaused;
  event.currentTarget.setAttribute("aria-pressed", String(isPaused));
  setStream(document.documentElement.dataset.stream, find("trouble").textContent);
  render();
  renewLists();
});
find("minutes").addEventListener("toggle", render);
document.addEventListener("visibilitychange", () => {
  render();
  renewLists();
});

connect();
lists.forEach((list) => list.renew());
