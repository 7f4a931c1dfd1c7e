"""The data sets that training reads, one module a data set."""
