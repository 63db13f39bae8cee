// Makes keys and tokens, by Node's own cryptography: node tokens.mjs DIRECTORY NOW, in seconds since the epoch.
// The directory gets the keys as files; what is printed is an object of tokens by their names.

import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const [directory, text] = process.argv.slice(2);
const now = Number(text);
const keep = (name, content) => writeFileSync(join(directory, name), content);

const pairs = {
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  small: generateKeyPairSync("rsa", { modulusLength: 1024 }),
  ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  other: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ed: generateKeyPairSync("ed25519"),
};
const pem = (name) => pairs[name].publicKey.export({ type: "spki", format: "pem" });
for (const name of Object.keys(pairs)) keep(`${name}.pem`, pem(name));
keep("private.pem", pairs.ed.privateKey.export({ type: "pkcs8", format: "pem" }));
const secret = "a secret of thirty-two characters, or more";
keep("secret", `${secret}\n`);
const jwk = (name, kid, more = {}) => ({ ...pairs[name].publicKey.export({ format: "jwk" }), kid, ...more });
keep("jwks.json", JSON.stringify({
  keys: [
    jwk("rsa", "r", { use: "sig", alg: "RS256" }),
    jwk("ec", "e"),
    jwk("ed", "d"),
    jwk("other", "enc", { use: "enc" }),
    { kty: "of the future", kid: "f" },
  ],
}));
keep("other.json", JSON.stringify({ keys: [jwk("other", "o")] }));

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const signers = {
  HS256: (data, key) => createHmac("sha256", key).update(data).digest(),
  RS256: (data, key) => sign("sha256", data, pairs[key].privateKey),
  RS384: (data, key) => sign("sha384", data, pairs[key].privateKey),
  ES256: (data, key) => sign("sha256", data, { key: pairs[key].privateKey, dsaEncoding: "ieee-p1363" }),
  EdDSA: (data, key) => sign(null, data, pairs[key].privateKey),
  none: () => Buffer.alloc(0),
};
const token = (alg, key, claims, header = {}) => {
  const message = `${encode({ alg, typ: "JWT", ...header })}.${encode(claims)}`;
  return `${message}.${signers[alg](Buffer.from(message), key).toString("base64url")}`;
};
const good = { exp: now + 3600, nbf: now - 60, iss: "issuer", aud: ["natpulse", "other"] };
const without = (key) => Object.fromEntries(Object.entries(good).filter(([name]) => name !== key));
const hs = (claims) => token("HS256", secret, claims);

console.log(JSON.stringify({
  hs: hs(good),
  rs: token("RS256", "rsa", good),
  es: token("ES256", "ec", good),
  ed: token("EdDSA", "ed", good),
  small: token("RS256", "small", good),
  // By our key, but an algorithm that is not the key's.
  rs384: token("RS384", "rsa", good),
  rs_in_set: token("RS256", "rsa", good, { kid: "r" }),
  es_in_set: token("ES256", "ec", good, { kid: "e" }),
  ed_in_set: token("EdDSA", "ed", good, { kid: "d" }),
  other_in_set: token("ES256", "other", good, { kid: "o" }),
  wrong_kid: token("ES256", "ec", good, { kid: "d" }),
  unknown_kid: token("ES256", "ec", good, { kid: "x" }),
  for_encryption: token("ES256", "other", good, { kid: "enc" }),
  none: token("none", null, good),
  none_in_set: token("none", null, good, { kid: "e" }),
  // The public key, which everyone knows, taken for a secret.
  public_as_secret: token("HS256", pem("rsa"), good),
  public_as_secret_in_set: token("HS256", pem("rsa"), good, { kid: "r" }),
  own_key: token("EdDSA", "ed", good, { jwk: jwk("ed", "d"), kid: "x" }),
  another_signature: `${token("ES256", "ec", good).split(".").slice(0, 2).join(".")}.${
    token("ES256", "ec", without("nbf")).split(".")[2]}`,
  another_key: token("ES256", "other", good),
  critical: token("HS256", secret, good, { crit: ["b64"], b64: false }),
  expired: hs({ ...good, exp: now - 3600 }),
  forever: hs(without("exp")),
  exp_in_words: hs({ ...good, exp: String(now + 3600) }),
  early: hs({ ...good, nbf: now + 1800 }),
  wrong_issuer: hs({ ...good, iss: "other" }),
  no_issuer: hs(without("iss")),
  wrong_audience: hs({ ...good, aud: "other" }),
  no_audience: hs(without("aud")),
  soon: hs({ ...good, exp: now + 6 }),
}));
