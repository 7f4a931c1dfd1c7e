"""Endpoints for the people who run the server: health, metrics, models and tools."""
