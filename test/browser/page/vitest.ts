/** What `vitest` is in a page: its own runner and its own matchers, without the part that needs Node. */
import {
  chai,
  type ExpectStatic,
  GLOBAL_EXPECT,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  type MatcherState,
  setState,
} from "@vitest/expect"
import { getCurrentTest } from "@vitest/runner"

export {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  it,
  onTestFailed,
  onTestFinished,
  suite,
  test,
} from "@vitest/runner"

chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

export const expect: ExpectStatic = ((value: unknown, message?: string) => {
  setState({ assertionCalls: getState(expect).assertionCalls + 1 }, expect)
  const assertion = chai.expect(value, message) as unknown as { withTest(test: unknown): ReturnType<ExpectStatic> }
  const test = getCurrentTest()
  return test ? assertion.withTest(test) : assertion
}) as ExpectStatic
Object.assign(expect, chai.expect)
expect.getState = () => getState<MatcherState>(expect)
expect.setState = (state) => setState(state as Partial<MatcherState>, expect)
expect.extend = (matchers) => (chai.expect as unknown as { extend(expect: ExpectStatic, matchers: object): void }).extend(expect, matchers)
Object.defineProperty(globalThis, GLOBAL_EXPECT, { value: expect, writable: true, configurable: true })
expect.setState({ assertionCalls: 0, isExpectingAssertions: false, isExpectingAssertionsError: null, expectedAssertionsNumber: null })
