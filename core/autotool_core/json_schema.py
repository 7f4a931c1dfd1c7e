"""Which keywords of JSON Schema have schemas in their values, and which have data."""

# Keywords whose value maps names to schemas: the names are not keywords.
SCHEMA_MAPS = {"properties", "patternProperties", "$defs", "definitions"}
# Keywords whose value is data and not a schema.
DATA_KEYWORDS = {"const", "enum", "default", "examples", "required"}
