// Requests to the service; failures become an Error with a message for people.

const ATTEMPTS = 6;
/** Of what only reads: a connection that was lost between two requests is nothing to tell anybody of. */
const READ_ATTEMPTS = 3;

/** The JSON response of a route. A busy service (503) is tried again, after Retry-After; a GET also if the network failed. */
export async function request(path, options = {}) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (!options.method && attempt < READ_ATTEMPTS) {
        await pause(1000, options.signal);
        continue;
      }
      throw new Error("the service cannot be reached, or the file cannot be read");
    }
    if (response.ok) return response.json();
    if (response.status === 503 && attempt < ATTEMPTS) {
      await pause(Number(response.headers.get("retry-after") ?? 2) * 1000, options.signal);
      continue;
    }
    const content = await response.json().catch(() => ({}));
    throw new Error(content.error ?? `the service responded with ${response.status}`);
  }
}

/** Send files as a form. */
export function send(path, files, signal) {
  const body = new FormData();
  for (const file of files) body.append("files", file, file.name);
  return request(path, { method: "POST", body, signal });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}
