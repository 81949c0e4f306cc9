// D1's own engine (workerd), with the Worker of deploy/d1-worker in front.
//
//   node engine.mjs <token> <folder for the data> <database id>…
//
// Prints its address when it answers, and ends when its input ends.
import { readFileSync } from "node:fs";
import { Miniflare } from "miniflare";

const [token, folder, ...databases] = process.argv.slice(2);
const worker = new URL("../../deploy/d1-worker/src/worker.js", import.meta.url);
const engine = new Miniflare({
  modules: [{ type: "ESModule", path: "worker.js", contents: readFileSync(worker, "utf8") }],
  modulesRoot: "/",
  compatibilityDate: "2026-01-01",
  bindings: { TOKEN: token },
  d1Databases: Object.fromEntries(databases.map((id) => [`DB_${id.replaceAll("-", "_")}`, id])),
  d1Persist: folder,
  host: "127.0.0.1",
  port: 0,
});
console.log(String(await engine.ready));
process.stdin.resume();
process.stdin.on("end", async () => {
  await engine.dispose();
  process.exit(0);
});
