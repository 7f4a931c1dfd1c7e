"""The inference server: FastAPI app, engines, modes per turn."""
