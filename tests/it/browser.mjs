// Uses the demo page as a person would: node browser.mjs PLAYWRIGHT CHROMIUM PROFILE URL [ARGUMENT...]; the
// browser is started with the arguments.
// Prints "all as expected" at the end, or fails with what was not.

import assert from "node:assert/strict";

import { launch } from "./chromium.mjs";

const [playwright, executablePath, profile, url, ...more] = process.argv.slice(2);

const context = await launch(playwright, executablePath, profile, more);
try {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });

  const response = await page.goto(url);
  assert.equal(response.status(), 200);
  assert.match(response.headers()["content-type"], /^text\/html/);
  await page.locator("#status", { hasText: /^open$/ }).waitFor();

  const received = page.locator("#log li.received");
  const send = async (button, text, expected) => {
    const before = await received.count();
    await page.locator("#text").fill(text);
    await page.locator(button).click();
    await received.filter({ hasText: expected }).last().waitFor();
    assert.equal(await received.count(), before + 1, "one message came back");
    assert.equal((await received.allInnerTexts()).includes(expected), true, expected);
  };
  await send("#send-text", "hello", "text: hello");
  await send("#send-binary", "hello", "binary: 68 65 6c 6c 6f");
  // Beyond ASCII, and what a page that built its log as HTML would trip over.
  await send("#send-text", "Grüße, 世界 🌍", "text: Grüße, 世界 🌍");
  await send("#send-binary", "é", "binary: c3 a9");
  await send("#send-text", "<b>not bold</b> & so on", "text: <b>not bold</b> & so on");

  assert.deepEqual(complaints, []);
  console.log("all as expected");
} finally {
  await context.close();
}
