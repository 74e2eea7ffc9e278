// A reader of one target in a folder, in Node without packages: everything is proven before anything is answered.
//
//   const release = await load("/srv/store", "shop", "home");
//   release.find("cooc", "i1")   // the row of an id, or null
//   const next = await load("/srv/store", "shop", "home", { after: release });   // the next look
//
// As a program it runs the conformance kit: node reader.mjs CASES.json

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

const KEYS = ["current", "surface", "tenant", "updated_at", "v"];
const KINDS = {
  popularity: { body: "items", key: "item_id" },
  cooc: { body: "neighbors", key: "item_id" },
  implicit: { body: "users", key: "user_id" },
  session_seq: { body: "users", key: "user_id" },
  content_sim: { body: "items", key: "item_id" },
};
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const ZEROED = Buffer.from(',"build":{"built_at":"","version":""}}');
const MAX_POINTER = 1_000_000;
const MAX_BLOB = 256_000_000;

export class Refused extends Error {}

const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};
const require = (held, why) => {
  if (!held) throw new Refused(why);
};

// An instant as text whose order is that of time, whatever its fraction; Date knows milliseconds only.
const sortable = (instant) => {
  const [whole, fraction = ""] = instant.slice(0, -1).split(".");
  return `${whole}.${fraction.padEnd(9, "0")}`;
};

async function get(root, key, most) {
  const path = join(root, key);
  try {
    require((await stat(path)).size <= most, `${key} is over ${most} bytes`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(`${key} cannot be read: ${error.message}`);
  }
}

function parse(data, name) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    throw new Refused(`${name} is no JSON in UTF-8`);
  }
}

// The content of an artifact, once its bytes have proven the version in its name.
async function artifact(root, tenant, surface, kind, version) {
  const key = `artifacts/${tenant}/${surface}/${kind}/${version}.json`;
  const data = await get(root, key, MAX_BLOB);
  const end = data.lastIndexOf(',"build":');
  require(end > 0 && sha256(data.subarray(0, end), ZEROED) === version, `${key} is not what its name says`);
  const found = parse(data, key);
  const owner = [found.v, found.artifact_type, found.tenant, found.surface];
  require(JSON.stringify(owner) === JSON.stringify([1, kind, tenant, surface]), `${key} is another's: ${owner}`);
  return found;
}

const rowsOf = (kind, document) => {
  const rows = document[KINDS[kind].body];
  require(Array.isArray(rows), `${kind} holds no ${KINDS[kind].body}`);
  return new Map(rows.map((row) => [row[KINDS[kind].key], row]));
};

// The index of a kind in shards: its name is the hash of all its bytes, and it names its shards by theirs.
async function shards(root, tenant, surface, kind, version) {
  const key = `artifacts/${tenant}/${surface}/${kind}.shards/${version}.shards`;
  const data = await get(root, key, MAX_BLOB);
  require(sha256(data) === version, `${key} is not what its name says`);
  const index = parse(data, key);
  require(index.v === 1 && index.artifact_type === kind && index.rule === "sha256-be64-mod", `${key} is another's`);
  require(index.tenant === tenant && index.surface === surface, `${key} is another target's`);
  const found = index.shards.map((shard) => artifact(root, tenant, surface, kind, shard.version));
  const loaded = (await Promise.all(found)).map((document) => rowsOf(kind, document));
  return (id) => loaded[Number(BigInt(`0x${sha256(id).slice(0, 16)}`) % BigInt(loaded.length))].get(id) ?? null;
}

// The version that an address names: the hash alone of a kind's JSON, with the ending of any other form.
function versionIn(root, tenant, surface, kind, uri) {
  const start = `file://${root}/artifacts/${tenant}/${surface}/${kind}/`;
  const name = uri.startsWith(start) ? uri.slice(start.length) : "";
  require(/^[0-9a-f]{64}\.[a-z0-9]{1,20}$/.test(name), `${uri} is no ${kind} of ours`);
  return name.replace(/\.json$/, "");
}

// The live release, whole and proven, or a Refused that says why there is none. `strict`: a record must name it.
// `after`: what was served before, so that a pointer that somebody put back is refused.
export async function load(root, tenant, surface, { strict = true, after = null } = {}) {
  const key = `registry/current/${tenant}/${surface}/manifest.json`;
  const pointer = parse(await get(root, key, MAX_POINTER), key);
  require(JSON.stringify(Object.keys(pointer).sort()) === JSON.stringify(KEYS) && pointer.v === 1, `${key}: no pointer`);
  require(pointer.tenant === tenant && pointer.surface === surface, `${key} is another target's`);
  require(INSTANT.test(pointer.updated_at), `${key}: ${pointer.updated_at} is no instant`);

  const lookups = {};
  const versions = [];
  for (const [kind, uri] of Object.entries(pointer.current)) {
    const base = kind.replace(/\.shards$/, "");
    const version = versionIn(root, tenant, surface, kind, uri);
    versions.push([kind, version]);
    if (!(base in KINDS)) continue; // imported kinds have other forms: leave them alone
    if (kind !== base) lookups[base] = await shards(root, tenant, surface, base, version.replace(/\.shards$/, ""));
    else if (!(`${kind}.shards` in pointer.current)) {
      const rows = rowsOf(kind, await artifact(root, tenant, surface, kind, version));
      lookups[kind] = (id) => rows.get(id) ?? null;
    }
  }
  versions.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const id = sha256(JSON.stringify([tenant, surface, versions]));
  if (strict) await get(root, `releases/${tenant}/${surface}/${id}.json`, MAX_BLOB);
  const at = sortable(pointer.updated_at);
  const isOlder = after !== null && (at < after.at || (at === after.at && id !== after.id));
  require(!isOlder, `${key} is of the past: was a backup restored?`);
  return { id, at, kinds: Object.keys(lookups), find: (kind, id) => lookups[kind]?.(id) ?? null };
}

async function runKit(file) {
  const results = [];
  for (const { name, root, tenant, surface, strict, seen, ask } of JSON.parse(await readFile(file, "utf-8"))) {
    try {
      const after = seen ? await load(seen, tenant, surface, { strict }) : null;
      const release = await load(root, tenant, surface, { strict, after });
      results.push({ name, outcome: "served", answers: ask.map(([kind, id]) => release.find(kind, id)) });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      results.push({ name, outcome: "refused", why: error.message });
    }
  }
  console.log(JSON.stringify(results, null, 1));
}

if (process.argv[1]?.endsWith("reader.mjs") && process.argv[2]) await runKit(process.argv[2]);
