// Opens WebSockets from pages as visitors' browsers would: node hostile.mjs PLAYWRIGHT CHROMIUM PROFILE HOSTILE SERVED TOKEN.
// HOSTILE is the origin of a page, SERVED the host and port of natpulse. Prints "all as expected" at the end, or fails with
// what was not.

import assert from "node:assert/strict";

import { launch } from "../chromium.mjs";

const [playwright, executablePath, profile, hostile, served, token] = process.argv.slice(2);
const [, port] = served.split(":");

const context = await launch(playwright, executablePath, profile, [
  "--disable-features=HttpsUpgrades",
  // A name that its owner has made to lead to our address.
  "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]);
try {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  // What becomes of a WebSocket of the page: "refused", or the subprotocol, when a message has come back.
  const opens = (path, protocols = [], host = served, frame = page) =>
    frame.evaluate(
      ([url, protocols]) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url, protocols);
          socket.onopen = () => socket.send("hello");
          socket.onmessage = () => { resolve(`open ${socket.protocol}`); socket.close(); };
          socket.onclose = () => resolve("refused");
        }),
      [`ws://${host}${path}`, protocols],
    );
  const expect = async (what, opening, expected) => assert.equal(await opening, expected, what);

  await page.goto(`${hostile}/`);
  assert.equal(await page.evaluate("origin"), hostile);
  await expect("a foreign page", opens("/"), "refused");
  await expect("a foreign page that calls us localhost", opens("/", [], `localhost:${port}`), "refused");
  await expect("the same page where it is listed", opens("/listed"), "open ");
  await expect("the same page where all may", opens("/any"), "open ");

  await page.goto(`http://${served}/`);
  await expect("our own page", opens("/"), "open ");
  await expect("our own page where another is listed", opens("/listed"), "refused");
  await page.goto(`http://localhost:${port}/`);
  await expect("our own page by another name", opens("/", [], `localhost:${port}`), "open ");
  await expect("our own page by both names", opens("/"), "refused");

  const rebound = `rebound.example:${port}`;
  await page.goto(`http://${rebound}/`);
  assert.equal(await page.evaluate("origin"), `http://${rebound}`);
  await expect("a page whose name was made to lead here", opens("/", [], rebound), "refused");
  await expect("the same page where all may", opens("/any", [], rebound), "open ");

  await page.goto(`${hostile}/`);
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    document.body.append(frame);
  });
  const [, sandboxed] = page.frames();
  assert.equal(await sandboxed.evaluate("origin"), "null");
  await expect("a page of no origin", opens("/", [], served, sandboxed), "refused");
  await expect("the same page where all may", opens("/any", [], served, sandboxed), "open ");

  const bearer = `bearer.${token}`;
  await expect("no token", opens("/token"), "refused");
  await expect("a wrong token", opens("/token", ["bearer", `${bearer}x`]), "refused");
  await expect("a token", opens("/token", ["bearer", bearer]), "open bearer");
  await expect("a token alone, none of whose subprotocols is chosen", opens("/token", [bearer]), "refused");
  await expect("a token and a subprotocol", opens("/both", ["chat", bearer]), "open chat");

  // Cookies know no ports: a foreign page on our host sends ours.
  await context.addCookies([{ name: "sid", value: token, domain: "127.0.0.1", path: "/" }]);
  await expect("a foreign page with its visitor's cookie", opens("/cookie"), "refused");
  await page.goto(`http://${served}/cookie`);
  await expect("our own page with its visitor's cookie", opens("/cookie"), "open ");
  await context.clearCookies();
  await expect("our own page without", opens("/cookie"), "refused");

  console.log("all as expected");
} finally {
  await context.close();
}
