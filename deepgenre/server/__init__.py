"""A local web page and JSON API: a server, and a worker process that decodes and analyses."""
