"""The faces over HTTP: each parses its dialect into a request and renders the one stream of answer events."""
