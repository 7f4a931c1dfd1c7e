"""The life of a server process: its command line, its socket, start and stop."""
