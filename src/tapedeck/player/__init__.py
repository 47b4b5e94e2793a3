"""The page that plays a film: no build step, nothing loaded from elsewhere (`api/hls.py` serves it)."""
