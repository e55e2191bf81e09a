// The suite's origin server, by its own handlers but on a free port of loopback, which it prints.
// node origin.mjs SUITE
import http from 'node:http'

const suite = process.argv[2]
const load = async name => (await import(`${suite}/server/handle-${name}.mjs`)).default
const handlers = { config: await load('config'), state: await load('state'), test: await load('test') }

const server = http.createServer((request, response) => {
  const [dispatch, ...rest] = new URL(request.url, 'http://localhost').pathname.split('/').slice(1)
  const handle = handlers[dispatch]
  if (handle) {
    handle(rest, request, response)
  } else {
    response.writeHead(404).end()
  }
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
