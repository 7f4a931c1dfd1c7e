"""Training data: loaders of data sets, and the steps that make one file of records of them (`build`)."""
