"""Programs and frameworks that a manager lives in.

- `aiohttp`: a bot on aiohttp.web
- `asgi`: a service on FastAPI, Starlette or any other ASGI framework with a lifespan
- `daemon`: a process of its own, stopped by signals
- `activity`: who an activity of a bot is about
- `logs`: how programs of our own log
- `cli`: the command `presence-manager`

Nothing here imports a framework that its user does not have.
"""
