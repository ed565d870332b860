// Microsoft's own client of the Debug Adapter Protocol, against `python -m viz dap`; run by test_adapter_npm.py.
// node adapter_client.js PORT-OF-THE-ADAPTER SCRIPT

const assert = require("assert");
const { DebugClient } = require("@vscode/debugadapter-testsupport");

const [port, program] = process.argv.slice(2);
const client = new DebugClient("", "", "microgrid");

async function moved(request) {
  const [stopped] = await Promise.all([client.waitForEvent("stopped"), request]);
  const stack = await client.stackTraceRequest({ threadId: 1 });
  return { ...stopped.body, frames: stack.body.stackFrames };
}

async function session() {
  await client.start(Number(port));
  const [capabilities] = await Promise.all([client.initializeRequest(), client.waitForEvent("initialized")]);
  assert.ok(capabilities.body.supportsStepBack);
  await client.launchRequest({ program });
  await client.setBreakpointsRequest({ source: { path: program }, breakpoints: [{ line: 27 }] }); // a1 = sigmoid(z1)
  await client.setExceptionBreakpointsRequest({ filters: ["nonfinite"] });
  const entry = await moved(client.configurationDoneRequest());
  assert.deepStrictEqual([entry.reason, entry.frames.length], ["entry", 1]);

  const threads = await client.threadsRequest();
  assert.strictEqual(threads.body.threads[0].name, "backward from C");
  const hit = await moved(client.continueRequest({ threadId: 1 }));
  assert.strictEqual(hit.reason, "breakpoint");
  const [top] = hit.frames;
  assert.deepStrictEqual([top.name, top.line, top.column, top.endColumn], ["a1 = sigmoid", 27, 6, 17]);
  client.assertPath(top.source.path, program);

  const scopes = await client.scopesRequest({ frameId: top.id });
  const step = await client.variablesRequest({ variablesReference: scopes.body.scopes[0].variablesReference });
  assert.strictEqual(step.body.variables.find(v => v.name === "g").value, "-0.270032");
  const product = await client.evaluateRequest({ expression: "g * z * (1 - z)", frameId: top.id, context: "hover" });
  assert.strictEqual(product.body.result, "-0.0608511");

  const back = await moved(client.stepBackRequest({ threadId: 1 }));
  assert.strictEqual(back.frames[0].name, "a2 = sigmoid");
  const again = await moved(client.nextRequest({ threadId: 1 }));
  assert.strictEqual(again.reason, "breakpoint");
  const first = await moved(client.reverseContinueRequest({ threadId: 1 }));
  assert.strictEqual(first.frames[0].name, "C = negative");
  await assert.rejects(client.scopesRequest({ frameId: 77 }), /the pass has moved on/);

  const ended = Promise.all([client.waitForEvent("exited"), client.waitForEvent("terminated")]);
  await moved(client.continueRequest({ threadId: 1 }));
  client.continueRequest({ threadId: 1 });
  const [exited] = await ended;
  assert.strictEqual(exited.body.exitCode, 0);
  await client.stop();
  console.log("all is well");
}

session().catch(error => { console.error(error); process.exit(1); });
