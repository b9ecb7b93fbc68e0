'use strict';
// Opens connections to a gate of every kind that Node knows, keeps a session, and
// says what it sees as JSON lines. When the certificate was revoked, it is told on its
// standard input how many milliseconds a connection may take to end, and says what
// became of the connections, of the session, and of a new handshake. Arguments: the address of the gate for HTTP and of the
// one for TCP, the files of root, certificate and key, the version of TLS, and the
// name that the upstream is told.
const fs = require('fs');
const http2 = require('http2');
const https = require('https');
const tls = require('tls');

const [web, raw, root, cert, key, version, name] = process.argv.slice(2);
const patience = 10000;
const options = (address) => ({
  host: '127.0.0.1', port: Number(address.split(':')[1]), servername: 'localhost',
  ca: fs.readFileSync(root), cert: fs.readFileSync(cert), key: fs.readFileSync(key),
  minVersion: 'TLSv' + version, maxVersion: 'TLSv' + version,
});

const say = (what) => console.log(JSON.stringify(what));
const live = [];

// Live is one connection that is open: it ends, and until then octets come.
class Live {
  constructor(name) {
    this.name = name;
    this.late = 0;
    this.started = new Promise((resolve) => { this.begin = resolve; });
    this.ended = new Promise((resolve) => { this.end = (why) => resolve(String(why)); });
    live.push(this);
  }

  take(octets) {
    for (const octet of octets) if (octet === 0x41) this.late++; // made after the revocation
    this.begin();
  }
}

function download() {
  const l = new Live('download');
  const request = https.get({ ...options(web), path: '/down?cell=' + name, agent: false }, (answer) => {
    answer.on('data', (octets) => l.take(octets));
    answer.on('error', (error) => l.end(error.code || error));
    answer.on('close', () => l.end('closed'));
  });
  request.on('error', (error) => l.end(error.code || error));
  return l.started;
}

function idle() {
  const l = new Live('idle');
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ...options(web) });
  https.get({ ...options(web), path: '/one?cell=' + name, agent }, (answer) => {
    answer.resume();
    answer.on('end', l.begin);
  }).on('socket', (socket) => {
    socket.on('error', (error) => l.end(error.code || error));
    socket.on('close', () => l.end('closed'));
  });
  return l.started;
}

function streams() {
  const l = new Live('h2-streams');
  const session = http2.connect('https://localhost:' + options(web).port, { ...options(web), ALPNProtocols: ['h2'] });
  session.on('error', (error) => l.end(error.code || error));
  session.on('close', () => l.end('closed'));
  const all = [];
  for (let i = 0; i < 20; i++) {
    const stream = session.request({ ':path': '/down?how=pace&cell=' + name });
    stream.on('error', () => {});
    all.push(new Promise((resolve) => stream.on('data', (octets) => { l.take(octets); resolve(); })));
  }
  return Promise.all(all);
}

function tcp() {
  const l = new Live('tcp');
  const socket = tls.connect(options(raw), () => {
    socket.write(name + '\nb');
    socket.on('data', (octets) => { l.take(octets); setTimeout(() => socket.write('b'), 5); });
  });
  socket.on('error', (error) => l.end(error.code || error));
  socket.on('close', () => l.end('closed'));
  return l.started;
}

// call makes one call on a connection of its own.
function call(session) {
  return new Promise((resolve) => {
    let kept;
    let resumed = false;
    let how = 'closed';
    let text = '';
    const socket = tls.connect({ ...options(web), session }, () => {
      resumed = socket.isSessionReused();
      kept = kept || socket.getSession();
      socket.write('GET /one?cell=' + name + ' HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    });
    socket.on('session', (given) => { kept = given; });
    socket.on('data', (octets) => { text += octets; });
    socket.on('error', (error) => { how = String(error.code || error); });
    socket.on('close', () => resolve({ kept, resumed, state: text === '' ? 'refused' : 'answered', how: text === '' ? how : text.split('\r\n')[0] }));
    socket.setTimeout(patience, () => socket.destroy(new Error('nothing comes')));
  });
}

async function main() {
  const first = await call();
  say({ case: 'first', state: first.state, how: first.how });
  await Promise.all([download(), idle(), streams(), tcp()]);
  say({ case: 'ready', state: 'open' });
  const left = await new Promise((resolve) => process.stdin.once('data', (text) => resolve(Number(text))));
  const deadline = new Promise((resolve) => setTimeout(resolve, left));
  for (const l of live) {
    const how = await Promise.race([l.ended, deadline]);
    say({ case: l.name, state: how === undefined ? 'alive' : 'cut', late: l.late, how });
  }
  const again = await call(first.kept);
  say({ case: 'resume', state: again.state, resumed: again.resumed, how: again.how });
  const fresh = await call();
  say({ case: 'new', state: fresh.state, resumed: fresh.resumed, how: fresh.how });
  process.exit(0);
}

main();
