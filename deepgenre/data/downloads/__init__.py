"""Downloads of datasets that are openly hosted: the table, the transfer, the archives."""
