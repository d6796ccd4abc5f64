// Nodes of bittorrent-dht, for a network of several kinds: told what to do by lines of JSON, one answer a line. The first
// argument is the folder in which the package is installed.

import crypto from 'node:crypto'
import path from 'node:path'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'

const packaged = path.join(process.argv[2], 'node_modules/bittorrent-dht/index.js')
const { Client } = await import(pathToFileURL(packaged))

// What stands before a raw key of ed25519 in DER (RFC 8410, sections 4 and 7).
const PUBLIC = Buffer.from('302a300506032b6570032100', 'hex')
const SECRET = Buffer.from('302e020100300506032b657004220420', 'hex')

function verify (signature, message, key) {
  const der = Buffer.concat([PUBLIC, Buffer.from(key)])
  const publicKey = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' })
  return crypto.verify(null, Buffer.from(message), publicKey, Buffer.from(signature))
}

function signer (seed) {
  const der = Buffer.concat([SECRET, Buffer.from(seed, 'hex')])
  const secretKey = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return message => crypto.sign(null, Buffer.from(message), secretKey)
}

// `call` is given a callback of the usual form.
function promised (call) {
  return new Promise((resolve, reject) => {
    call((error, ...values) => error ? reject(error) : resolve(values))
  })
}

const nodes = []

function textOf (found) {
  return found?.v ? Buffer.from(found.v).toString() : null
}

const orders = {
  async start ({ addresses }) {
    for (const address of addresses) {
      const [host, port] = address.split(':')
      const node = new Client({ bootstrap: false, verify })
      node.on('error', error => process.stderr.write(`${error}\n`))
      await promised(done => node.listen(Number(port), host, done))
      nodes.push(node)
    }
    return { ports: nodes.map(node => node.address().port) }
  },

  async join ({ host, port }) {
    for (const node of nodes) node.addNode({ host, port })
    return {}
  },

  async known () {
    // Nobody is asked before somebody is looked for.
    await Promise.all(nodes.map(node => new Promise(resolve => node.lookup(node.nodeId, resolve))))
    return { counts: nodes.map(node => node.nodes.count()) }
  },

  async put ({ node, text }) {
    const [hash, stored] = await promised(done => nodes[node].put({ v: Buffer.from(text) }, done))
    return { target: Buffer.from(hash).toString('hex'), stored }
  },

  async put_signed ({ node, seed, key, salt, text, sequence }) {
    const item = {
      k: Buffer.from(key, 'hex'), seq: sequence, v: Buffer.from(text), salt: Buffer.from(salt), sign: signer(seed)
    }
    const [, stored] = await promised(done => nodes[node].put(item, done))
    return { stored }
  },

  async get ({ node, target }) {
    const [found] = await promised(done => nodes[node].get(Buffer.from(target, 'hex'), { cache: false }, done))
    return { text: textOf(found) }
  },

  async get_signed ({ node, key, salt }) {
    const bytes = Buffer.concat([Buffer.from(key, 'hex'), Buffer.from(salt)])
    const target = crypto.createHash('sha1').update(bytes).digest()
    const options = { salt: Buffer.from(salt), cache: false }
    const [found] = await promised(done => nodes[node].get(target, options, done))
    return { text: textOf(found), sequence: found?.seq }
  },

  async announce ({ node, info_hash: hash, port }) {
    await promised(done => nodes[node].announce(hash, port, done))
    return {}
  },

  async peers ({ node, info_hash: hash }) {
    const peers = new Set()
    const see = (peer, found) => {
      if (Buffer.from(found).toString('hex') === hash) peers.add(`${peer.host}:${peer.port}`)
    }
    nodes[node].on('peer', see)
    await promised(done => nodes[node].lookup(hash, done)).catch(() => {})
    nodes[node].removeListener('peer', see)
    return { peers: [...peers] }
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: name, ...order } = JSON.parse(line)
  let answer
  try {
    answer = await orders[name](order)
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
process.exit(0)
