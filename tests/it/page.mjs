// Uses the status page as an operator would: node page.mjs PLAYWRIGHT CHROMIUM PROFILE AXE URL PICTURES [TOKEN].
// Whoever started it waits for what is printed, and does its own part then: opens clients, ends natpulse, starts it
// again. With a TOKEN the page is only opened, and one session closed. Fails with what was not as expected.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { launch } from "./chromium.mjs";

const [playwright, executablePath, profile, axe, url, pictures, token] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const context = await launch(playwright, executablePath, profile, [], {
  viewport: { width: 1280, height: 900 },
  ...(token && { httpCredentials: { username: "operator", password: token } }),
});

const foreign = [];
const complaints = [];
const { origin } = new URL(url);
await context.route("**/*", (route) => {
  const wanted = new URL(route.request().url());
  if (wanted.origin === origin || wanted.protocol === "data:") return route.continue();
  foreign.push(wanted.href);
  return route.abort();
});
const page = await context.newPage();
// Less than who waits for what is printed has patience, so that it is said what was not as expected.
page.setDefaultTimeout(PATIENCE_MS);
page.on("websocket", (socket) => foreign.push(socket.url()));
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (message) => {
  // While natpulse is away, the browser says so of every attempt to reach it.
  const isAway = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE/;
  if (message.type() === "error" && !isAway.test(message.text())) complaints.push(message.text());
});

const rows = page.locator("#sessions tbody tr");
const column = async (place) => (await rows.locator(`td:nth-child(${place})`).allInnerTexts()).map((text) => text.trim());
const number = (name) => page.locator("#numbers > div", { has: page.getByText(name, { exact: true }) }).locator(".value > :first-child");
const has = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
const isLive = () => has(page.locator("#stream-state"), /^live$/);
const eventually = async (what, holds) => {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `gave up: ${what}`);
    await page.waitForTimeout(50);
  }
};
const alive = async (count) => {
  await has(number("Alive"), new RegExp(`^${count}$`));
  await eventually(`${count} sessions in the list`, async () => (await rows.count()) === count);
};

// Closes the session that is first in the list, with the keyboard, and says whose it was.
const closeOne = async () => {
  const [id, client] = [(await column(1))[0], (await column(3))[0]];
  const others = (await column(1)).slice(1);
  const button = page.getByRole("button", { name: `Close session ${id}`, exact: true });
  const dialog = page.getByRole("dialog", { name: `Close session ${id}?` });
  await button.press("Enter");
  await dialog.waitFor();
  assert.match(await dialog.innerText(), new RegExp(client.replaceAll(".", "\\.")));
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await eventually("the focus to be back", () => button.evaluate((it) => it === document.activeElement));
  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Close the session" }).press("Enter");
  await has(page.locator("#notice"), `Session ${id} was closed.`);
  await eventually("the row to go", async () => !(await column(1)).includes(id));
  const heir = await page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id);
  assert.equal(heir, others.length ? `Close session ${others[0]}` : "sessions-title", "the focus has gone to the next row");
  console.log(`closed the session of ${client}`);
};

const look = async (colorScheme, width, height) => {
  await page.emulateMedia({ colorScheme });
  await page.setViewportSize({ width, height });
  const name = `${colorScheme} at ${width}`;
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} px: as wide as the window`);
  await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
  await page.screenshot({ path: join(pictures, `${colorScheme}-${width}.png`), fullPage: true });
  const { violations, passes } = await page.evaluate(() => axe.run());
  assert.ok(passes.length > 20, `axe-core has looked: ${passes.length}`);
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${name} px`);
  console.log(`looked at ${name}`);
};

const useAll = async () => {
  await alive(5);
  await page.evaluate(() => globalThis.isTheSame = true);
  const known = page.locator("#networks tbody tr", { hasText: "127.0.0.0/24" });
  await eventually("a network that was learned", async () => (await known.locator("td").nth(3).innerText()) !== "–");
  assert.equal(await known.locator(".picture .proven").count(), 1);
  assert.equal(await known.locator(".picture .used").count(), 2);
  const next = page.getByRole("navigation", { name: "Pages of Networks" }).getByRole("button", { name: "Next" });
  await next.click();
  await has(page.locator("#networks .pages"), "13 to 16 of 16");
  assert.equal(await page.locator("#networks tbody tr").count(), 4);
  assert.equal(await next.getAttribute("aria-disabled"), "true");
  await page.getByRole("searchbox", { name: "Filter networks" }).fill("203.0");
  const earlier = page.locator("#networks tbody tr", { hasText: "203.0.113.0/24" });
  await earlier.waitFor();
  await eventually("the others to go", async () => (await page.locator("#networks tbody tr").count()) === 1);
  assert.deepEqual((await earlier.locator("td.number").allInnerTexts()).slice(1), ["57 s", "62 s", "54.7 s"]);
  assert.equal(await earlier.locator(".picture .broken").count(), 1);
  await page.getByRole("searchbox", { name: "Filter networks" }).fill("");
  const dead = page.locator("#deaths tbody tr");
  await has(number("Deaths"), /^1$/);
  await has(dead, "127.0.0.0/24");
  // Which of the two it is depends on what the others had proven by then.
  const [{ cause }] = await page.evaluate(async () => (await (await fetch("api/deaths")).json()).items);
  await has(dead.locator(".cause"), { nat: /^NAT$/, unclear: /^unclear$/ }[cause]);
  assert.equal(await dead.count(), 1);
  const beats = async () => Number.parseInt(await page.locator("#numbers .more").filter({ hasText: " sent, " }).innerText());
  const before = await beats();
  console.log("shown");

  await alive(8);
  await has(number("Opened"), /^9$/);
  await eventually("messages to be counted", async () => (await column(6)).includes("3 / 3"));
  await eventually("beats to be counted", async () => (await beats()) > before);
  assert.deepEqual(await page.locator("#bridges td.main").allInnerTexts(), ["echo", "im"]);
  assert.notEqual(await page.locator("#alive .line").getAttribute("d"), "");

  const filter = page.getByRole("searchbox", { name: "Filter sessions" });
  await filter.fill("IM");
  await eventually("the filter to work", async () => (await rows.count()) === 3);
  assert.deepEqual(new Set(await column(2)), new Set(["im"]));
  await has(page.locator("#notice"), "3 rows in Sessions");
  await filter.fill("nobody");
  await has(page.locator("#sessions"), "Nothing matches the filter.");
  await filter.fill("");
  await eventually("all to be back", async () => (await rows.count()) === 8);

  // From the filter, the Tab key comes to the heads of the table.
  const head = page.locator("#sessions th", { hasText: "Session" });
  await eventually("the head to have the focus", async () => {
    await page.keyboard.press("Tab");
    return head.getByRole("button").evaluate((it) => it === document.activeElement);
  });
  const sorted = async (key, direction, order) => {
    await page.keyboard.press(key);
    await eventually(`to be ${direction}`, async () => {
      const ids = (await column(1)).map(Number);
      return ids.length === 8 && ids.every((id, place) => place === 0 || order(ids[place - 1], id));
    });
    assert.equal(await head.getAttribute("aria-sort"), direction);
    assert.equal(await page.locator("#sessions th[aria-sort]").count(), 1);
  };
  await sorted("Enter", "descending", (before, after) => before > after);
  await sorted("Space", "ascending", (before, after) => before < after);

  await closeOne();
  await alive(7);
  for (const scheme of ["light", "dark"]) {
    await look(scheme, 1280, 900);
    await look(scheme, 390, 844);
  }
  assert.equal(await page.evaluate(() => globalThis.isTheSame), true, "all of it without a reload");

  await has(page.locator("#stream-state"), /^lost$/);
  await has(page.locator("#trouble"), /^Lost natpulse at \d\d:\d\d:\d\d.*trying again\.$/);
  console.log("lost it");
  await isLive();
  await alive(2);
  assert.equal(await page.locator("#trouble").innerText(), "");
  // It is another process, which made another token for its page.
  await closeOne();
  await alive(1);
  assert.equal(await page.evaluate(() => globalThis.isTheSame), true, "the same page as before");
};

try {
  const response = await page.goto(url);
  assert.equal(response.status(), 200);
  const policy = response.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  await page.evaluate(`${readFileSync(axe, "utf8")}; undefined`);
  await isLive();
  if (token) {
    await alive(1);
    await closeOne();
    await alive(0);
  } else {
    await useAll();
  }
  assert.deepEqual(foreign, []);
  assert.deepEqual(complaints, []);
  console.log("all as expected");
} finally {
  await context.close();
}
