"""Why a schema is not held."""


class NotHeldError(Exception):
    """A feature that no grammar here enforces, named by the text; `place` is the path to its schema, "" for the top."""

    def __init__(self, feature: str) -> None:
        super().__init__(feature)
        self.place: str | None = None

    def __str__(self) -> str:
        where = f" (at {self.place[:80]})" if self.place else ""
        return f"{self.args[0]} in a JSON schema{where}"
