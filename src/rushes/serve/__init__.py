"""An OpenAI-compatible server: HTTP, media, queue, reuse of what was read, metrics, and a page to try it."""
