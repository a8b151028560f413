"""An order log: read, validated or quarantined, audited, diagnosed, encoded."""
