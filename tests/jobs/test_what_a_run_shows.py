"""What a person sees of a run: its stages, and in MLflow's UI, in a real browser, its answer.

The answer is which strategy, at what threshold, at what cost.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from pyspark.sql import SparkSession
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from support import chromium, mlflow_server
from support.mlflow_store import new_store
from support.small_run import STRONG, config_file, write_orders

from imbalance_spark.core.progress import Progress
from jobs import train

pytestmark = pytest.mark.pictures

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Where each page that a test looks at is left as a picture."""

STRATEGIES = ("none", "class_weight", "scale_pos_weight")
THRESHOLD = "threshold/min_cost_fn_10_fp_1"
DECIDING = ("validation/average_precision", THRESHOLD, "test/cost", "test/precision", "test/recall")


@dataclass(frozen=True)
class Pages:
    """The UI after one run of the main job; `runs` are its strategies, best first."""

    browser: Chrome
    address: str
    printed: str
    store: str
    parent: Run
    runs: list[Run]

    def open(self, page: str) -> None:
        # A change behind the # alone would not load the page anew.
        self.browser.get("about:blank")
        self.browser.get(f"{self.address}/{page}")

    def wait_for(self, css: str, text: str = "") -> list[WebElement]:
        """The elements that a reader sees, as soon as there are any."""

        def shown(browser: Chrome) -> list[WebElement]:
            found = browser.find_elements(By.CSS_SELECTOR, css)
            return [element for element in found if element.is_displayed() and text in element.text]

        return WebDriverWait(self.browser, 60, ignored_exceptions=[Exception]).until(shown)

    def down(self, css: str) -> list[WebElement]:
        """Those of a table's column, from the top: the grid does not keep them in order."""
        return sorted(self.wait_for(css), key=lambda cell: cell.rect["y"])

    def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        assert self.browser.save_screenshot(str(SCREENSHOTS / f"mlflow_{name}.png"))


@dataclass(frozen=True)
class Ran:
    """One run of the main job, what it printed, and the descriptions of its Spark jobs in their order."""

    home: Path
    store: str
    said: str
    stages: list[str]
    jobs: list[str | None]


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    home = tmp_path_factory.mktemp("ran")
    store = new_store(home)
    write_orders(spark, home)
    config = config_file(home, "ui", uri=store, training=STRONG)
    said, stages = io.StringIO(), io.StringIO()
    before = set(_spark_jobs(spark))
    # MLflow puts artifacts below it.
    with contextlib.chdir(home), contextlib.redirect_stdout(said), contextlib.redirect_stderr(stages):
        assert train.main(["--config", config, "--set", f"strategies=[{', '.join(STRATEGIES)}]"]) == 0
    jobs = [description for number, description in sorted(_spark_jobs(spark).items()) if number not in before]
    return Ran(home, store, said.getvalue(), stages.getvalue().splitlines(), jobs)


def _spark_jobs(spark: SparkSession) -> dict[int, str | None]:
    """Descriptions by number, as Spark's own UI lists the last thousand."""
    context = spark.sparkContext._jsc.sc()
    context.listenerBus().waitUntilEmpty()
    found = context.statusStore().jobsList(None)
    jobs = [found.apply(number) for number in range(found.size())]
    return {job.jobId(): job.description().get() if job.description().isDefined() else None for job in jobs}


@pytest.fixture(scope="module")
def pages(ran: Ran) -> Iterator[Pages]:
    found = chromium.binaries()
    command, link = ran.said.strip().splitlines()[-1].removeprefix("Look at it: ").split("   then ")
    client = MlflowClient(ran.store)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    strategies = [run for run in runs if "strategy" in run.data.params]
    [parent] = [run for run in runs if run not in strategies]
    strategies.sort(key=lambda run: -run.data.metrics["validation/average_precision"])
    with (
        mlflow_server.running(shlex.split(command), ran.home / "server.log") as address,
        chromium.running(*found) as browser,
    ):
        yield Pages(browser, address, link.partition("5000/")[2], ran.store, parent, strategies)


def test_every_stage_is_announced_and_says_what_came_out_and_how_long_it_took(ran: Ran) -> None:
    begun = [match.groups() for line in ran.stages if (match := re.fullmatch(r"\[(\d+)/(\d+)\] (.+) \.\.\.", line))]
    numbers, totals, names = zip(*begun, strict=True)
    assert [int(number) for number in numbers] == list(range(1, len(begun) + 1))
    assert {int(total) for total in totals} == {len(begun)}
    for number, total, name in begun:
        ended = rf"\[{number}/{total}\] {name}(  \S.*\S)?  \d+ s"
        assert any(re.fullmatch(ended, line) for line in ran.stages), name
    assert [name.removeprefix("fit ") for name in names if name.startswith("fit ")] == list(STRATEGIES)
    assert any("validate  12,000 -> 12,000 rows, 0 quarantined  " in line for line in ran.stages)


def test_spark_names_each_job_after_its_stage_in_the_order_of_the_stages(ran: Ran) -> None:
    assert None not in ran.jobs
    # Delta writes its own name before the stage, and what it is about behind.
    named = [re.sub("^(Delta: )*", "", str(description)).partition(": ")[0] for description in ran.jobs]
    stages = [line.partition("] ")[2].removesuffix(" ...") for line in ran.stages if line.endswith(" ...")]
    assert set(named) <= set(stages)
    assert [stages.index(name) for name in named] == sorted(stages.index(name) for name in named)
    busy = {"cluster", "validate", "split", "categories", "inputs", "audit", "training rows", "score"}
    assert busy | {f"fit {name}" for name in STRATEGIES} <= set(named)


def test_jobs_are_named_also_where_the_thread_has_no_active_session(spark: SparkSession) -> None:
    sessions, context = spark._jvm.SparkSession, spark.sparkContext
    sessions.clearActiveSession()
    try:
        with Progress(["counting"], quiet=True).step("counting"):
            assert context.getLocalProperty("spark.job.description") == "counting"
    finally:
        sessions.setActiveSession(spark._jsparkSession)
    assert context.getLocalProperty("spark.job.description") is None


def test_the_printed_link_lists_the_strategies_best_first_with_what_decides(pages: Pages) -> None:
    pages.open(pages.printed)
    names = [cell.text for cell in pages.down(".ag-row [col-id='attributes.`Run Name`'] a")]
    pages.picture("strategies")
    assert names == [run.info.run_name for run in pages.runs]
    for metric in DECIDING:
        cells = pages.down(f".ag-row [col-id='metrics.`{metric}`']")
        shown = [float(cell.text) for cell in cells]
        assert shown == pytest.approx([run.data.metrics[metric] for run in pages.runs], rel=1e-3), metric
        # In one look: nothing of it is beyond the edge of the list.
        edge = pages.browser.find_element(By.CSS_SELECTOR, ".ag-center-cols-viewport").rect
        assert all(cell.rect["x"] + cell.rect["width"] <= edge["x"] + edge["width"] for cell in cells), metric


def test_two_strategies_are_compared_by_params_metrics_and_curves(pages: Pages) -> None:
    pages.open(pages.printed)
    for box in pages.down(".ag-row .ag-checkbox-input-wrapper")[:2]:
        box.click()
    pages.wait_for("button", "Compare")[0].click()
    pages.wait_for("h1, h2", "Comparing 2 Runs")
    pages.wait_for(".ReactVirtualized__Grid a")
    pages.picture("compare")
    compared = _compared_metrics(pages)
    for metric in DECIDING:
        values = [run.data.metrics[metric] for run in pages.runs[:2]]
        assert [float(text) for text in compared[metric]] == pytest.approx(values, abs=5e-4), metric
    text = pages.browser.find_element(By.TAG_NAME, "body").text
    assert f"kind {' '.join(run.data.params['kind'] for run in pages.runs[:2])}" in text
    pages.browser.refresh()  # the names do not follow when the values jump back to the top
    pages.wait_for(".ReactVirtualized__Grid a")
    heading = next(element for element in pages.wait_for("[role=button]") if element.text == "Metrics")
    pages.browser.execute_script("arguments[0].scrollIntoView()", heading)
    curve = pages.browser.execute_async_script(_SCROLL_TO, "learning/validation")
    pages.picture("compare_metrics")
    # A row that the page has just made is not yet where the mouse would find it.
    pages.browser.execute_script("arguments[0].click()", curve)
    pages.wait_for(".js-plotly-plot .trace")
    pages.picture("curves")
    lines = "return document.querySelector('.js-plotly-plot').data.map(line => [line.name, line.y.length])"
    client = MlflowClient(pages.store)
    rounds = {
        run.info.run_name: len(client.get_metric_history(run.info.run_id, "learning/validation"))
        for run in pages.runs[:2]
    }
    assert dict(pages.browser.execute_script(lines)) == rounds
    assert min(rounds.values()) > 5


def _compared_metrics(pages: Pages) -> dict[str, list[str]]:
    """What the table of compared metrics shows of each run, by metric. Its page holds only the rows in sight."""
    rows = pages.browser.execute_async_script(_SCROLL_AND_READ)
    named = [([cells[place] for place in sorted(cells, key=float)]) for cells in rows]
    return {name: values for name, *values in named}


_SCROLL_TO = """
const [name, done] = arguments, values = [...document.querySelectorAll('.ReactVirtualized__Grid')][1];
const link = () => [...document.querySelectorAll('.ReactVirtualized__Grid a')].find(a => a.innerText.trim() === name);
(async () => {
    for (let top = 0; !link() && top < values.scrollHeight; top += 150) {
        values.scrollTop = top;
        await new Promise(ready => setTimeout(ready, 60));
    }
    done(link());
})();
"""


_SCROLL_AND_READ = """
const [names, values] = [...document.querySelectorAll('.ReactVirtualized__Grid')], rows = {}, done = arguments[0];
const read = (grid, left) => grid.querySelectorAll('[style*="position: absolute"]').forEach(cell => {
    (rows[cell.style.top] ||= {})[left + parseInt(cell.style.left)] = cell.innerText.trim();
});
(async () => {
    for (let top = 0; top < values.scrollHeight; top += 150) {
        values.scrollTop = top;
        await new Promise(ready => setTimeout(ready, 60));
        read(names, -1); read(values, 0);
    }
    done(Object.values(rows));
})();
"""


def test_the_run_of_the_job_has_the_table_on_its_page_and_its_report_opens(pages: Pages) -> None:
    page = f"#/experiments/{pages.parent.info.experiment_id}/runs/{pages.parent.info.run_id}"
    pages.open(page)
    rows = [row.text.strip() for row in pages.wait_for("table tr")]
    pages.picture("job")
    best = pages.runs[0].data.params["strategy"]
    assert next(name for row in rows for name in STRATEGIES if row.startswith(name)) == best
    pages.open(f"{page}/artifacts/report.html")
    [frame] = pages.wait_for("iframe")
    pages.browser.switch_to.frame(frame)
    try:
        first = pages.wait_for("#answer li")[0].text
        advised = pages.parent.data.params["best_strategy"]
        assert first.startswith(f"Advised: {advised}. At threshold ")
        sizes = "return [...document.images].map(picture => picture.complete && picture.naturalWidth)"
        widths = pages.browser.execute_script(sizes)
        assert len(widths) > 5
        assert min(widths) > 300
    finally:
        pages.browser.switch_to.default_content()
    pages.picture("report")
