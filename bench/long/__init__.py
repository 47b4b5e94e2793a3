"""A server whose films have hours of media in front, made of repeated packets (`media.py`) instead of rendered.

All else of it is the product's own: the log and the render of the minutes that are recorded, how the film is written
and finished, its upload, the API. `python -m bench.long serve ...` is `tapedeck serve` with the films of
`python -m bench.long.child`, whose `FilmWriter` begins with the hours.
"""
