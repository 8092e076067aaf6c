// Calls the real scalingo.js client for the tests: a JSON command a line on standard input, a JSON answer a line.
//
// {"connect": {"as", "token", "url"}} signs in; {"as", "call": "Notifiers.create", "args": [...]} calls a method.
// The answer is {"ok": what the client returned} or {"error": what it threw}.

import { createInterface } from "node:readline";

import { clientFromToken } from "scalingo";

const clients = new Map();

async function connect({ as, token, url }) {
  const client = await clientFromToken(token, { apiUrl: url, authApiUrl: url });
  clients.set(as, client);
  return client._token;
}

async function call({ as, call: name, args }) {
  const [section, method] = name.split(".");
  const endpoint = clients.get(as)[section];
  return await endpoint[method](...args);
}

async function answer(command) {
  try {
    const result = command.connect ? await connect(command.connect) : await call(command);
    return { ok: result ?? null };
  } catch (error) {
    // Only errors of the API have a status and the answer's body; others are failures of the client itself.
    const { status = null, data = null, message, stack } = error;
    return { error: { status, data, message, stack } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
