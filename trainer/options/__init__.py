"""What operators set of trainings and gates."""
