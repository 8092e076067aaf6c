"""Pages for browsers, drawn on the server over the same verbs as the API."""
