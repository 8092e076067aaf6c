"""Tocsin's dependability as figures: faults are injected into real installations, and what was promised is counted."""
