// Runs the suite's tests against a cache and prints each with its result, as JSON.
// node client.mjs SUITE BASE_URL [ID...]: these tests alone, or all that are not for browsers.
//
// Left alone: Surrogate-Control, a draft that the newest edition dropped.
import { createRequire } from 'node:module'

const [suite, base, ...wanted] = process.argv.slice(2)
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`)
const groups = (await import(`${suite}/tests/index.mjs`)).default
const fetch = createRequire(`${suite}/`)('node-fetch')

// At once, but so few that a busy machine still answers within the lifetimes of 1 to 3 s that the tests use.
const AT_ONCE = 120

const chosen = groups.map(group => ({
  ...group,
  tests: group.tests.filter(test => !test.browser_only && (wanted.length === 0 || wanted.includes(test.id)))
}))
await runTests(chosen, fetch, false, base, AT_ONCE)
const results = getResults()
const told = chosen.flatMap(group => group.tests.map(test => ({
  id: test.id,
  group: group.id,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  passed: results[test.id] === true,
  reason: results[test.id] === true ? '' : results[test.id].join(': ')
})))
console.log(JSON.stringify(told))
// Kept-alive connections must not hold the process.
process.exit(0)
