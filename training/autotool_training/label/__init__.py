"""Labels: which mode each record is to be learnt in, by pass@k of a no-thinking and a thinking model (`label`)."""
