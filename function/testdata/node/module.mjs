export const handler = async (event) => ({ module: event });
export default { inside: (event) => ({ default: event }) };
await new Promise((resolve) => setTimeout(resolve, 1)); // top-level await is allowed
