/** What `npm run build:wasm` makes, so that a type check needs no build. `shell.ts` says what an instance is. */
declare module "#wasm/engine" {
  export function instantiate(options: { module: object; memory?: object }): object
}
declare module "#wasm/engine-threads" {
  export function instantiate(options: { module: object; memory?: object }): object
}
