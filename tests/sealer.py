"""What the tests of parts seal secrets with; whole installations make keys of their own."""

from tocsin.sealing import Sealer

SEALER = Sealer({"test": bytes(range(32))})
