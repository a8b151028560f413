"""A real order log: UCI Online Retail, its lines as orders with features of what was known when they were placed."""

from pyspark.sql import Column, DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

from imbalance_spark.core.columns import require_columns
from imbalance_spark.core.errors import ConfigError

LABEL_HORIZON_DAYS = 7
DAY_SECONDS = 86_400
_RAW = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


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


def prepare_retail(spark: SparkSession, path: str | None) -> DataFrame:
    """Order lines with their label and what was known when they were placed. Lazy.

    A line is positive when the same customer cancels a line of the same item at the same minute
    or within the 7 days after. Lines of the log's last 7 days are dropped: their label is not
    known yet. Reads the Parquet file twice, once for the time of its last event.

    Args:
        path: the Parquet file or folder of the raw log (columns InvoiceNo, StockCode, Description,
            Quantity, InvoiceDate, UnitPrice, CustomerID, Country).

    Returns:
        What `retail_lines` says, without the lines whose label is unknown, and without
        `is_label_known`.

    Raises:
        ConfigError: `path` is None.
        MissingColumnsError: the log lacks a column.
    """
    if path is None:
        raise ConfigError("retail: no path is given. Name the Parquet file of the UCI Online Retail log.")
    lines = retail_lines(spark.read.parquet(path))
    return lines.where(F.col("is_label_known")).drop("is_label_known")


def retail_lines(log: DataFrame) -> DataFrame:
    """Every sale line of a known customer: key, label, features, and whether the label is final. Lazy.

    Money is summed in thousandths of a pound as integers, so that no sum depends on its order.
    "Before" means at an earlier minute; the log's times are to the minute.

    Args:
        log: the raw log, one row per line; a sale has positive quantity and price, a cancellation
            an InvoiceNo that begins with C; all else is ignored. Lines of unknown customers count
            for an item's history, and are not among the result.

    Returns:
        One row per sale line of a known customer, null only where said:
        order_line_id (string, key): invoice, item and the line's rank within both; equal lines get
        different ranks; ordered_at (timestamp, UTC); customer_id (bigint); stock_code (string);
        is_cancelled_within_7_days (int, 0 or 1); is_label_known (boolean);
        quantity (bigint, >= 1); unit_price_gbp, line_amount_gbp (double, > 0);
        invoice_lines (bigint, >= 1) and invoice_amount_gbp (double, > 0): of this invoice so far, the line's
        own minute included, since a basket is placed as a whole;
        customer_lines_before, customer_orders_before, customer_cancellations_before (bigint, >= 0);
        customer_spent_before_gbp (double, >= 0); customer_cancel_rate_before (double, >= 0: cancelled lines per
        line bought; null without a line);
        customer_days_since_previous_line, customer_days_since_first_line (double, > 0; null at the first);
        customer_item_lines_before, customer_item_cancellations_before (bigint, >= 0): of this item by this
        customer;
        item_lines_before, item_cancellations_before (bigint, >= 0); item_cancel_rate_before (double, >= 0, null
        without a line); item_mean_price_before_gbp, price_over_item_mean (double, > 0, null without a
        line); item_mean_quantity_before, quantity_over_item_mean (double, > 0, null without a line);
        is_product (int, 0 for postage, fees and manual lines);
        hour_of_day (int, 0 to 23), day_of_week (int, 1 is Sunday), month (int, 1 to 12); country (string).

    Raises:
        MissingColumnsError: the log lacks a column.
    """
    require_columns(log, _RAW, "retail")
    known = with_history(log_events(log))
    is_line = F.col("is_sale") & F.col("customer_id").isNotNull()
    last_event = log.agg(F.max(F.col("InvoiceDate").cast("timestamp")).alias("last_event_at"))
    lines = known.where(is_line).crossJoin(F.broadcast(last_event))
    return lines.select(*_identity(), *_order_features(), *_customer_features(), *_item_features())


def _identity() -> list[Column]:
    key = F.concat_ws("-", F.col("invoice"), F.col("stock_code"), F.col("rank").cast("string"))
    horizon_end = F.unix_timestamp(F.col("last_event_at")) - LABEL_HORIZON_DAYS * DAY_SECONDS
    return [
        key.alias("order_line_id"),
        F.col("ordered_at"),
        F.col("customer_id"),
        F.col("stock_code"),
        F.col("is_cancelled").alias("is_cancelled_within_7_days"),
        (F.col("second") <= horizon_end).alias("is_label_known"),
    ]


def _order_features() -> list[Column]:
    return [
        F.col("quantity"),
        F.col("unit_price").alias("unit_price_gbp"),
        (F.col("amount_milli") / 1000).alias("line_amount_gbp"),
        F.col("invoice_lines"),
        (F.col("invoice_milli") / 1000).alias("invoice_amount_gbp"),
        F.col("stock_code").rlike("^[0-9]").cast("int").alias("is_product"),
        F.hour("ordered_at").alias("hour_of_day"),
        F.dayofweek("ordered_at").alias("day_of_week"),
        F.month("ordered_at").alias("month"),
        F.col("country"),
    ]


def _customer_features() -> list[Column]:
    return [
        F.col("customer_lines").alias("customer_lines_before"),
        F.col("customer_orders").alias("customer_orders_before"),
        F.col("customer_cancellations").alias("customer_cancellations_before"),
        (F.col("customer_milli") / 1000).alias("customer_spent_before_gbp"),
        _per(F.col("customer_cancellations"), F.col("customer_lines")).alias("customer_cancel_rate_before"),
        ((F.col("second") - F.col("customer_previous")) / DAY_SECONDS).alias("customer_days_since_previous_line"),
        ((F.col("second") - F.col("customer_first")) / DAY_SECONDS).alias("customer_days_since_first_line"),
        F.col("both_lines").alias("customer_item_lines_before"),
        F.col("both_cancellations").alias("customer_item_cancellations_before"),
    ]


def _item_features() -> list[Column]:
    mean_price = _per(F.col("item_price_milli") / 1000, F.col("item_lines"))
    mean_quantity = _per(F.col("item_quantity"), F.col("item_lines"))
    return [
        F.col("item_lines").alias("item_lines_before"),
        F.col("item_cancellations").alias("item_cancellations_before"),
        _per(F.col("item_cancellations"), F.col("item_lines")).alias("item_cancel_rate_before"),
        mean_price.alias("item_mean_price_before_gbp"),
        _per(F.col("unit_price"), mean_price).alias("price_over_item_mean"),
        mean_quantity.alias("item_mean_quantity_before"),
        _per(F.col("quantity"), mean_quantity).alias("quantity_over_item_mean"),
    ]


def _per(part: Column, whole: Column) -> Column:
    # Null where there is nothing to divide by: unknown is not 0.
    return F.when(whole > 0, part / whole)
