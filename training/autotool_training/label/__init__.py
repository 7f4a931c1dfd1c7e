"""Labels: the mode that each record is trained in, by pass@k of a no-thinking and a thinking model (`label`)."""
