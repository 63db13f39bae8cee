// Runs a page of the README: node page.mjs PLAYWRIGHT CHROMIUM PROFILE FILE ORIGIN. The file is a script of a page at the
// origin. Prints what came of its socket: "open, " and the bytes that came back, or "closed".

import { readFileSync } from "node:fs";

import { launch } from "../chromium.mjs";

const [playwright, executablePath, profile, file, origin] = process.argv.slice(2);
const script = readFileSync(file, "utf8");

const context = await launch(playwright, executablePath, profile);
try {
  const page = await context.newPage();
  await page.route(`${origin}/`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(`${origin}/`);
  const told = await page.evaluate(
    (text) =>
      new Promise((resolve) => {
        const socket = new Function(`${text}\nreturn socket;`)();
        socket.addEventListener("open", () => socket.send(new Uint8Array([1, 2, 3])));
        socket.addEventListener("message", (event) => resolve(`open, ${[...new Uint8Array(event.data)].join(" ")}`));
        socket.addEventListener("close", () => resolve("closed"));
      }),
    script,
  );
  console.log(told);
} finally {
  await context.close();
}
