// What the page asks of the server, and how it is told no.

const KEY = "rushes-api-key";

export class ApiError extends Error {
  // error: OpenAI's error object, or null where the answer had none.
  constructor(status, error, retryAfter_s = null) {
    super(error?.message ?? `The server answered with status ${status}, and did not say why.`);
    this.status = status;
    this.code = error?.code ?? null;
    this.retryAfter_s = retryAfter_s;
  }
}

let askForKey = async () => null;

// ask(wrong) resolves to a key, or to null where nobody gave one; `wrong`: one was tried already.
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

// The chunks of a streamed answer.
export async function* chat(body, signal) {
  const response = await send("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, details: true }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(0, chunk.error);
    yield chunk;
  }
  throw new ApiError(0, { message: "The server broke off in the middle of the answer." });
}

async function send(path, options) {
  for (let tried = false; ; ) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    const response = await reach(path, { ...options, headers });
    if (response.ok) return response;
    const error = await refusal(response);
    if (error.status !== 401) throw error;
    const given = await askForKey(tried || key !== null);
    if (given === null) throw error;
    sessionStorage.setItem(KEY, given);
    tried = true;
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, {
      message: "The server cannot be reached, or it hung up. Is it running, and is the video perhaps too large for it?",
    });
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const seconds = Number.parseInt(response.headers.get("Retry-After"), 10);
  return new ApiError(response.status, body?.error ?? null, Number.isNaN(seconds) ? null : seconds);
}

// Server-sent events: the data of each.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const pieces = (rest + value).split("\n\n");
      rest = pieces.pop();
      for (const piece of pieces) if (piece.startsWith("data: ")) yield piece.slice(6);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
