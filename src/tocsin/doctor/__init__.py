"""What could stand in the way, a finding for each check. It changes nothing."""
