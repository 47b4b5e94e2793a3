"""The process of one live target: sends a film's stream to a server, and may be killed at any moment.

Of the composition root, like `outlets`: joins the address guard of `adapters` with the stream in `media`. Refuses to
try again (`workers/streams.py`), and to know films. What it imports it pays for at each attempt: it does
without an event loop and PyAV.
"""
