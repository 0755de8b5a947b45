"""What ``fleetnet bench`` measures, and how it says so."""
