"""One module for scenarios that belong together; each holds instances of `faults.scenario.Scenario`."""
