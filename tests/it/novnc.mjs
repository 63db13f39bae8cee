// Looks at a VNC server through noVNC: node novnc.mjs PLAYWRIGHT CHROMIUM PROFILE PAGE COLOUR...
// Says "shows COLOUR" when the middle of the screen has each of these colours, one after the other, as rgb(r,g,b); and
// "all as expected" at the end, or fails with what was not.

import assert from "node:assert/strict";

import { launch } from "./chromium.mjs";

const [playwright, executablePath, profile, url, ...colours] = process.argv.slice(2);

const context = await launch(playwright, executablePath, profile);
try {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));

  const response = await page.goto(`${url}?token=screen`);
  assert.equal(response.status(), 200);
  await page.waitForFunction(() => document.title === "connected");
  for (const colour of colours) {
    await page.waitForFunction((wanted) => {
      const canvas = document.querySelector("#screen canvas");
      const { width, height } = canvas;
      if (width !== 320 || height !== 240) return false;
      const [red, green, blue] = canvas.getContext("2d").getImageData(width / 2, height / 2, 1, 1).data;
      return `rgb(${red},${green},${blue})` === wanted;
    }, colour);
    console.log(`shows ${colour}`);
  }
  await page.goto(`${url}?token=another`);
  await page.waitForFunction(() => document.title === "disconnected");
  assert.deepEqual(complaints, []);
} finally {
  await context.close();
}
console.log("all as expected");
