// Preloaded into the conformance suite. Its servers wait for every connection before they end, and Node counts one that
// was dialled and not needed, as Go's client may leave it, as busy for ever.
import { Server } from 'node:http'

const { close } = Server.prototype
Server.prototype.close = function (...args) {
  const server = close.apply(this, args)
  this.closeAllConnections()
  return server
}
