// Requests to the service; what goes wrong becomes an Error with a message for people.

const TRIES = 6;

/** The JSON answer of a route. A service that is busy (503) is asked again when it says so. */
export async function ask(path, options = {}) {
  for (let tried = 1; ; tried++) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("the service cannot be reached, or the file cannot be read");
    }
    if (answer.ok) return answer.json();
    if (answer.status === 503 && tried < TRIES) {
      await pause(Number(answer.headers.get("retry-after") ?? 2) * 1000, options.signal);
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error ?? `the service answered ${answer.status}`);
  }
}

/** Send files as a form. */
export function send(path, files, signal) {
  const body = new FormData();
  for (const file of files) body.append("files", file, file.name);
  return ask(path, { method: "POST", body, signal });
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
