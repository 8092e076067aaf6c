"""The HTTP API: one file a resource. Routes read and write JSON, and leave every decision to `tocsin.verbs`."""
