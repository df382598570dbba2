/** JSON over fetch, with errors that can be shown. */

/** A request failed. The message is a sentence for the person; `code` is what programs look at. */
export class ApiError extends Error {
  override name = "ApiError";
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  get detail(): string {
    return this.message;
  }
}

export function getJson<T>(url: string): Promise<T> {
  return request("GET", url);
}

export function postJson<T>(url: string, body: unknown): Promise<T> {
  return request("POST", url, body);
}

export function putJson<T>(url: string, body: unknown): Promise<T> {
  return request("PUT", url, body);
}

export function deleteJson<T>(url: string, body?: unknown): Promise<T> {
  return request("DELETE", url, body);
}

async function request<T>(method: string, url: string, body?: unknown): Promise<T> {
  const headers = new Headers({ Accept: "application/json" });
  if (method !== "GET") headers.set("X-CSRFToken", csrfToken());
  const options: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    headers.set("Content-Type", "application/json");
    options.body = JSON.stringify(body);
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, options);
    text = await response.text();
  } catch {
    throw new ApiError(0, "unreachable", "The server can't be reached. Check your connection, then try again.");
  }
  const answer = parse(text);
  if (!response.ok) {
    const { detail, code } = (answer ?? {}) as { detail?: unknown; code?: unknown };
    throw new ApiError(
      response.status,
      typeof code === "string" ? code : "failed",
      typeof detail === "string" ? detail : `The server could not do this (status ${response.status}). Try again later.`,
    );
  }
  // Nothing to say (204) is an answer; a page is none, as where a redirect led to signing in.
  if (answer === undefined && text !== "") {
    throw new ApiError(response.status, "unexpected", "The server answered with something else. Reload this page.");
  }
  return answer as T;
}

function csrfToken(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
