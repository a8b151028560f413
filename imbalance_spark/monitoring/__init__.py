"""The days after training: expected performance, base rate, drift and alarms of scored orders."""
