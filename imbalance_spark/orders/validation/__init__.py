"""Split orders into valid ones and quarantined ones with the rules they broke, and report on both."""

from imbalance_spark.orders.validation.validate import ValidatedOrders, ValidationReport, validate_orders

__all__ = ["ValidatedOrders", "ValidationReport", "validate_orders"]
