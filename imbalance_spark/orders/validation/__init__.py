"""Orders to valid orders, quarantined orders with the rules they broke, and what was found."""

from imbalance_spark.orders.validation.validate import ValidatedOrders, ValidationReport, validate_orders

__all__ = ["ValidatedOrders", "ValidationReport", "validate_orders"]
