"""Tocsin: tells people and programs what happened to their applications, on the platform they chose."""

__version__ = "0.1.0"
