"""Functions of untrusted files, called in worker processes that may crash or hang."""
