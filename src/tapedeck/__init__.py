"""Tapedeck: a self-hosted recorder for WebRTC meetings."""

__version__ = "0.1.0"
