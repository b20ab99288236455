"""The Python interface of training and evaluation, as `deepgenre.train` and its neighbours."""
