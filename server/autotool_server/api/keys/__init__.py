"""The keys of many clients: their file, what each may ask for, and how much."""
