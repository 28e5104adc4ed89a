"""The HTTP server: OpenAI's speech endpoints, voices, conversion and the web page. `serve.py` starts it; docs/server.md."""
