"""The retail log as events, each with sums over the events before it: the part that must not leak."""

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

LABEL_HORIZON_DAYS = 7
DAY_SECONDS = 86_400


def log_events(log: DataFrame) -> DataFrame:
    """Sales and cancellations, with their time in seconds and money in thousandths of a pound."""
    is_cancellation = F.col("InvoiceNo").startswith("C")
    is_sale = ~is_cancellation & (F.col("Quantity") > 0) & (F.col("UnitPrice") > 0)
    at = F.col("InvoiceDate").cast("timestamp")
    price = F.round(F.col("UnitPrice") * 1000).cast("bigint")
    events = log.where(is_sale | is_cancellation).select(
        F.col("InvoiceNo").alias("invoice"),
        F.col("StockCode").alias("stock_code"),
        F.col("CustomerID").cast("bigint").alias("customer_id"),
        F.col("Country").alias("country"),
        F.col("Quantity").cast("bigint").alias("quantity"),
        F.col("UnitPrice").alias("unit_price"),
        F.col("Description").alias("description"),
        at.alias("ordered_at"),
        F.unix_timestamp(at).alias("second"),
        is_sale.alias("is_sale"),
        is_cancellation.alias("is_cancellation"),
        price.alias("price_milli"),
        (price * F.col("Quantity")).alias("amount_milli"),
    )
    return events.select("*", _rank_in_invoice().alias("rank"), _is_first_of_invoice().alias("is_order"))


def _rank_in_invoice() -> Column:
    # Time first, so that later lines never renumber earlier ones; then every column, so that only
    # lines that are equal in all of them can swap ranks.
    order = ["second", "quantity", "unit_price", "description", "country", "customer_id"]
    return F.row_number().over(Window.partitionBy("invoice", "stock_code").orderBy(*order))


def _is_first_of_invoice() -> Column:
    order = ["second", "stock_code", "quantity", "unit_price", "description", "country", "customer_id"]
    return F.col("is_sale") & (F.row_number().over(Window.partitionBy("invoice").orderBy(*order)) == 1)


def _before(*keys: str) -> WindowSpec:
    return Window.partitionBy(*keys).orderBy("second").rangeBetween(Window.unboundedPreceding, -1)


def _count(condition: Column, window: WindowSpec) -> Column:
    return F.coalesce(F.sum(condition.cast("bigint")).over(window), F.lit(0).cast("bigint"))


def _sales_sum(value: str, window: WindowSpec) -> Column:
    return F.coalesce(F.sum(F.when(F.col("is_sale"), F.col(value))).over(window), F.lit(0).cast("bigint"))


def with_history(events: DataFrame) -> DataFrame:
    """Add sums over the earlier events of the customer, of the item and of both; and the label."""
    customer, item, both = _before("customer_id"), _before("stock_code"), _before("customer_id", "stock_code")
    basket = Window.partitionBy("invoice").orderBy("second").rangeBetween(Window.unboundedPreceding, 0)
    by_time = Window.partitionBy("customer_id", "stock_code").orderBy("second")
    horizon = by_time.rangeBetween(0, LABEL_HORIZON_DAYS * DAY_SECONDS)
    is_sale, is_cancellation = F.col("is_sale"), F.col("is_cancellation")
    sale_second = F.when(is_sale, F.col("second"))
    return events.select(
        "*",
        (_count(is_cancellation, horizon) > 0).cast("int").alias("is_cancelled"),
        _count(is_sale, basket).alias("invoice_lines"),
        _sales_sum("amount_milli", basket).alias("invoice_milli"),
        _count(is_sale, customer).alias("customer_lines"),
        _count(F.col("is_order"), customer).alias("customer_orders"),
        _count(is_cancellation, customer).alias("customer_cancellations"),
        _sales_sum("amount_milli", customer).alias("customer_milli"),
        F.max(sale_second).over(customer).alias("customer_previous"),
        F.min(sale_second).over(customer).alias("customer_first"),
        _count(is_sale, both).alias("both_lines"),
        _count(is_cancellation, both).alias("both_cancellations"),
        _count(is_sale, item).alias("item_lines"),
        _count(is_cancellation, item).alias("item_cancellations"),
        _sales_sum("price_milli", item).alias("item_price_milli"),
        _sales_sum("quantity", item).alias("item_quantity"),
    )
