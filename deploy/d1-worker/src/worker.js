// Offtake's door to D1 databases: the part of Cloudflare's administration API that Offtake uses, in
// front of databases that are bound to this Worker. It is not bound by that API's limit of requests,
// and a batch of a binding is documented to be one transaction.
//
//   POST …/accounts/<any>/d1/database/<database id>/query   {"batch":[{"sql":"…","params":[…]},…]}
//
// The database with the id 8f0c1f5e-… is the binding DB_8f0c1f5e_…; see wrangler.toml.

const ROUTE = /\/accounts\/[^/]+\/d1\/database\/([0-9a-f-]{36})\/query$/;

export default {
  async fetch(request, environment) {
    const route = new URL(request.url).pathname.match(ROUTE);
    if (!route || request.method !== "POST") return failure(404, 7000, "no such route");
    if (!(await isAuthorized(request, environment.TOKEN))) {
      return failure(403, 10000, "Authentication error");
    }
    const database = environment[`DB_${route[1].replaceAll("-", "_")}`];
    if (!database) return failure(404, 7404, "this Worker has no binding for the database");
    try {
      const { batch } = await request.json();
      const statements = batch.map(({ sql, params }) => {
        const statement = database.prepare(sql);
        return params?.length ? statement.bind(...params) : statement;
      });
      const result = await database.batch(statements);
      return Response.json({ success: true, errors: [], messages: [], result });
    } catch (error) {
      return failure(400, 7500, String(error?.message ?? error));
    }
  },
};

function failure(status, code, message) {
  return Response.json(
    { success: false, errors: [{ code, message }], messages: [], result: null },
    { status },
  );
}

// Compares digests, so that the time it takes tells nothing about the token.
async function isAuthorized(request, token) {
  if (!token) return false;
  const digest = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const given = await digest(request.headers.get("authorization") ?? "");
  const wanted = await digest(`Bearer ${token}`);
  return crypto.subtle.timingSafeEqual(given, wanted);
}
