"""Audited savings: some requests in `auto` are answered in the other mode too, to measure what `auto` saves and loses."""
