"""Capture: what sources deliver, gated by recordings, into the media log. See docs/explain/capture.md."""
