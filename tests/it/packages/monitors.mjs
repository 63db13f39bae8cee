// Reads JSON documents, and validates the Prometheus operator's of them against the schemas of its resources: node
// monitors.mjs MODELS FILE. Prints how many there were.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [models, file] = process.argv.slice(2);
const require = createRequire(models);
const kinds = require(models);
let count = 0;
for (const document of JSON.parse(readFileSync(file, "utf8"))) {
  if (document.apiVersion !== "monitoring.coreos.com/v1") continue;
  new kinds[document.kind](document).validate();
  count += 1;
}
console.log(count);
