"""What must never see a validation or test row: sampling and weights."""
