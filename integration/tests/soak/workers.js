// Workers that request pages from a server in the main thread, count in shared memory, make
// garbage, and wait for each other; one that spins is terminated. Prints the same each time.
'use strict';
const { Worker } = require('worker_threads');
const http = require('http');
const { gzipSync } = require('zlib');

const WORKERS = 3;

// A worker of its own: requests 20 pages over 4 kept connections and says what was in them.
async function client() {
  const http = require('http');
  const { createHash } = require('crypto');
  const { gunzipSync } = require('zlib');
  const { parentPort, workerData: { counts, port, workers } } = require('worker_threads');

  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const get = (path) => new Promise((resolve, reject) => {
    http.get({ agent, port, path, host: '127.0.0.1' }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve(gunzipSync(Buffer.concat(parts))));
    }).on('error', reject);
  });
  // All start together: the last to come wakes the others.
  if (Atomics.add(counts, 2, 1) + 1 === workers) Atomics.notify(counts, 2);
  for (let n; (n = Atomics.load(counts, 2)) < workers;) Atomics.wait(counts, 2, n);

  const hash = createHash('sha256');
  for (const body of await Promise.all(Array.from({ length: 20 }, (_, i) => get(`/${i}`)))) {
    Atomics.add(counts, 0, 1);
    hash.update(Array.from(body, String).join(''));
  }
  parentPort.postMessage(hash.digest('hex'));
  agent.destroy();
}

// Never returns, and calls nothing that could notice that it is to end.
function spinner() {
  const { counts } = require('worker_threads').workerData;
  for (;;) Atomics.add(counts, 1, 1);
}

const server = http.createServer((request, response) => {
  const body = gzipSync(Buffer.alloc(5000, request.url));
  setImmediate(() => response.end(body));
});

server.listen(0, '127.0.0.1', async () => {
  const counts = new Int32Array(new SharedArrayBuffer(16));
  const workerData = { counts, workers: WORKERS, port: server.address().port };
  const start = (body) => new Worker(`(${body})()`, { eval: true, workerData });
  const said = (worker) => new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  const ended = (worker) => new Promise((resolve) => worker.once('exit', resolve));

  const spins = start(spinner);
  const workers = Array.from({ length: WORKERS }, () => start(client));
  const ends = workers.map(ended);
  const digests = await Promise.all(workers.map(said));
  console.log(await Promise.all(ends), new Set(digests).size, digests[0]);
  while (Atomics.load(counts, 1) === 0) await new Promise(setImmediate);
  console.log(await spins.terminate(), counts[0]);
  server.close();
  server.closeAllConnections();
});
