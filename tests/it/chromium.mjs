// The browser that the tests drive.

import { pathToFileURL } from "node:url";

// Chromium with a profile of its own; `args` are more of its arguments, `options` more of Playwright's.
export async function launch(playwright, executablePath, profile, args = [], options = {}) {
  const { chromium } = await import(pathToFileURL(playwright));
  return chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    // No sandbox, so that it runs as root in a container too; and none of the browser's
    // own talk with its maker's servers, which a closed network would refuse.
    chromiumSandbox: false,
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
    ...options,
  });
}
