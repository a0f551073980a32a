"""Drawn garments: what can be drawn, how it is drawn, and how people would ask for it."""
